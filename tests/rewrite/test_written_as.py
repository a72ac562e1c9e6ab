"""Code whose imports were swapped before its numbers: --written-as, and copies by --out-dir."""

import pytest
from click.testing import CliRunner

from batchnorm.cli import group
from batchnorm.rewrite import rewrite_written

BEFORE = """from mindspore import nn


class Net(nn.Cell):
    def __init__(self, m=0.1):
        self.a = nn.BatchNorm2d(8, momentum=0.01)
        self.b = nn.BatchNorm2d(8, 1e-3, m)
        self.c = nn.BatchNorm2d(8)

    def spread(self):
        return self.a.running_var


net = Net()
net.eval()
"""
AFTER = """# batchnorm: carried over from torch
from mindspore import nn


class Net(nn.Cell):
    def __init__(self, m=0.1):
        self.a = nn.BatchNorm2d(8, momentum=0.99)
        self.b = nn.BatchNorm2d(8, 1e-3, 1 - m)
        self.c = nn.BatchNorm2d(8)

    def spread(self):
        return self.a.moving_variance


net = Net()
net.set_train(False)
"""


def run(*arguments, stdin=None):
    return CliRunner().invoke(group, ["rewrite", *map(str, arguments)], input=stdin)


def test_numbers_attributes_and_modes_become_the_targets():
    found = rewrite_written(BEFORE, written_as="torch", to="mindspore")
    assert found.after.decode() == AFTER
    assert not rewrite_written(found.after, written_as="torch", to="mindspore").changed


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("layers.BatchNormalization(axis=1)",
         "layers.BatchNormalization(axis=1, momentum=0.9, epsilon=1e-05)"),
        ("layers.BatchNormalization(1, 0.1, 1e-5)", "layers.BatchNormalization(1, 0.9, 1e-5)"),
    ],
)  # fmt: skip
def test_what_is_not_written_gets_the_originals_default(before, after):
    found = rewrite_written(f"from keras import layers\nx = {before}\n",
                            written_as="torch", to="keras")  # fmt: skip
    assert found.after.decode().splitlines()[-1] == f"x = {after}"


def test_mint_has_torchs_numbers_and_nothing_changes():
    text = "from mindspore import mint\nx = mint.nn.BatchNorm2d(8, momentum=0.01)\n"
    assert not rewrite_written(text, written_as="torch", to="mint").changed


def test_stars_that_hide_numbers_are_left_and_said():
    text = "from mindspore import nn\na = nn.BatchNorm2d(8, 0.1, 0.1)\nb = nn.BatchNorm2d(8, **k)\n"
    found = rewrite_written(text, written_as="torch", to="mindspore")
    assert "0.1, 0.9)" in found.after.decode()
    assert [site.reason for site in found.sites if site.left] == [
        "**k hides which arguments are given: see to its numbers"
    ]


def test_the_command_takes_it_in_place_of_from(tmp_path):
    (tmp_path / "net.py").write_text(BEFORE)
    assert run(tmp_path, "--to", "mindspore").exit_code == 2
    assert run(tmp_path, "--written-as", "torch", "--from", "torch", "--to", "keras").exit_code == 2
    done = run(tmp_path, "--written-as", "torch", "--to", "mindspore", "--write")
    assert done.exit_code == 0
    assert (tmp_path / "net.py").read_text() == AFTER
    assert run("-", "--written-as", "torch", "--to", "mindspore", stdin=BEFORE).stdout == AFTER


def test_out_dir_has_a_changed_copy_and_the_original_stays(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "net.py").write_text(BEFORE)
    (tmp_path / "a" / "words.txt").write_text("words")
    to = tmp_path / "new"
    arguments = (tmp_path / "a", "--written-as", "torch", "--to", "mindspore", "--out-dir", to)
    assert run(*arguments).exit_code == 0
    assert (tmp_path / "a" / "b" / "net.py").read_text() == BEFORE
    assert (to / "b" / "net.py").read_text() == AFTER
    assert (to / "words.txt").read_text() == "words"
    assert "holds something already" in run(*arguments).output
