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


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("make = partial(nn.BatchNorm2d, momentum=0.1, eps=1e-3)",
         "make = partial(nn.BatchNorm2d, momentum=0.9, eps=1e-3)"),
        ("class Norm(nn.BatchNorm2d):\n    def __init__(self, c, m=0.1):\n"
         "        super().__init__(c, momentum=m)",
         "class Norm(nn.BatchNorm2d):\n    def __init__(self, c, m=0.1):\n"
         "        super().__init__(c, momentum=1 - m)"),
        ("def block(c, norm=nn.BatchNorm2d):\n    return norm(c, momentum=0.1)",
         "def block(c, norm=nn.BatchNorm2d):\n    return norm(c, momentum=0.9)"),
        ('NORMS = {"bn": nn.BatchNorm2d, "ln": nn.LayerNorm}\nx = NORMS["bn"](8, momentum=0.1)',
         'NORMS = {"bn": nn.BatchNorm2d, "ln": nn.LayerNorm}\nx = NORMS["bn"](8, momentum=0.9)'),
        ("x = nn.BatchNorm2d(8, momentum=m, **more)",
         "# batchnorm: **more hides which arguments are given: see to its numbers\n"
         "x = nn.BatchNorm2d(8, momentum=1 - m, **more)"),
    ],
    ids=["partial", "derived", "handed on", "table", "stars beside it"],
)  # fmt: skip
def test_numbers_are_corrected_once_wherever_the_layer_gets_them(before, after):
    head = "from functools import partial\nfrom mindspore import nn\n"
    found = rewrite_written(head + before + "\n", written_as="torch", to="mindspore")
    assert found.after.decode() == f"# batchnorm: carried over from torch\n{head}{after}\n"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("class Norm(nn.BatchNorm2d):\n    pass", "Norm's callers give what BatchNorm2d takes"),
        ("class Net(nn.Cell):\n    def make(self, c):\n"
         "        return self.norm_layer(c, momentum=0.1)", "what is called can't be told"),
        ("def make(c, kind):\n    return getattr(nn, 'BatchNorm2d')(c, momentum=0.1)",
         "what is called can't be told"),
        ("build(nn.BatchNorm2d)", "BatchNorm2d is handed on"),
        ("def make(c, norm=None):\n    return (norm or nn.BatchNorm2d)(c, momentum=0.1)",
         "choose the class before the call"),
        ("cls = nn.BatchNorm2d if sure else nn.InstanceNorm2d\nx = cls(8, momentum=0.1)",
         "nn.InstanceNorm2d may be called here as well"),
    ],
)  # fmt: skip
def test_what_cannot_be_followed_is_told_and_never_passed_over(code, reason):
    text = f"from mindspore import nn\n{code}\n"
    found = rewrite_written(text, written_as="torch", to="mindspore")
    assert [s.reason.partition(":")[0].partition(", and")[0] for s in found.sites] == [reason]


@pytest.mark.parametrize(
    ("to", "said", "after", "reason"),
    [
        ("mindspore", "m.momentum = 0.2", "m.momentum = 0.2",
         "momentum set after construction has no effect in mindspore: give it to the constructor"),
        ("keras", "m.momentum = 0.2", "m.momentum = 0.8", ""),
        ("keras", "print(m.momentum)", "print(m.momentum)",
         "momentum is the other number in keras: see to it"),
    ],
)  # fmt: skip
def test_a_momentum_of_a_finished_layer_is_corrected_or_told(to, said, after, reason):
    layer = {"mindspore": "mindspore.nn.BatchNorm2d", "keras": "keras.layers.BatchNormalization"}
    text = f"import {to}\nfor m in net:\n    if isinstance(m, {layer[to]}):\n        {said}\n"
    found = rewrite_written(text, written_as="torch", to=to)
    assert after in found.after.decode()
    assert [site.reason for site in found.sites] == [reason]


def test_a_class_with_other_defaults_that_is_handed_on_is_told():
    text = "from keras import layers\n\ndef f(norm=layers.BatchNormalization):\n    norm()\n"
    [site] = rewrite_written(text, written_as="torch", to="keras").sites
    assert site.reason.endswith("give it momentum=0.9, epsilon=1e-05")
    text = "from mindspore import mint\n\ndef f(norm=mint.nn.BatchNorm2d):\n    norm(8)\n"
    assert not rewrite_written(text, written_as="torch", to="mint").sites


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
