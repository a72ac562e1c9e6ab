"""`batchnorm lint` as users call it: choices, comments, settings, formats, exit codes."""

import json
import os
import sys

import pytest
from click.testing import CliRunner

import batchnorm
from batchnorm.cli import group
from batchnorm.lint import RULES

WRONG = "from torch import nn\nnorm = nn.BatchNorm2d(64, 0.8, momentum=0.9)\n"
RIGHT = "from torch import nn\nnorm = nn.BatchNorm2d(64)\n"


def run(*arguments, stdin=None):
    return CliRunner().invoke(group, ["lint", *map(str, arguments)], input=stdin)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "wrong.py").write_text(WRONG)
    (tmp_path / "right.py").write_text(RIGHT)
    (tmp_path / "other.py").write_text("print('nothing of the kind')\n")
    return tmp_path


def test_names_each_finding_with_its_place_and_sums_up(folder):
    done = run(folder)
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"{folder / 'wrong.py'}:2:27: BN012 eps 0.8")
    assert lines[1].startswith(f"{folder / 'wrong.py'}:2:41: BN001 momentum 0.9")
    assert lines[2] == (
        "2 findings (BN001 1, BN012 1) in 2 files; --fix would fix 1; 1 file without batch norms "
        "passed over."
    )


def test_ends_with_0_where_nothing_is_found(folder):
    done = run(folder / "right.py")
    assert done.exit_code == 0
    assert done.stdout == "0 findings in 1 file.\n"


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--select", "BN001"], ["BN001"]),
        (["--select", "BN001, BN012"], ["BN012", "BN001"]),
        (["--select", "BN0"], ["BN012", "BN001"]),
        (["--ignore", "BN012"], ["BN001"]),
        (["--select", "BN01", "--ignore", "BN012"], []),
    ],
)
def test_runs_the_rules_that_are_chosen(folder, options, found):
    done = run(folder, "--format", "json", *options)
    assert [each["rule"] for each in json.loads(done.stdout)["findings"]] == found


def test_refuses_a_rule_that_is_not_there(folder):
    done = run(folder, "--select", "BN099")
    assert done.exit_code != 0
    assert "there is no rule 'BN099'" in str(done.exception)


def test_goes_on_after_a_file_that_does_not_parse(folder):
    (folder / "broken.py").write_text("import torch.nn as nn  # BatchNorm2d\ndef (:\n")
    (folder / "bytes.py").write_bytes(b"# batchnorm \xff\xfe\n")
    done = run(folder)
    assert done.exit_code == 2
    assert f"{folder / 'broken.py'}: not linted: line 2: does not parse" in done.stdout
    assert f"{folder / 'bytes.py'}: not linted: is not text in its encoding" in done.stdout
    assert "BN001" in done.stdout
    assert "2 files not linted" in done.stdout


def test_reads_standard_input(folder):
    done = run("-", "-q", stdin=WRONG)
    assert done.exit_code == 1
    assert done.stdout.startswith("-:2:27: BN012 ")
    assert run("-", stdin="def (:").exit_code == 2
    assert "give it alone" in run("-", "-", stdin=WRONG).stderr
    deep = run("-", stdin="x = " + "-" * 3000 + "1  # BatchNorm\n")
    assert deep.exit_code in (0, 2)
    assert deep.exception is None or isinstance(deep.exception, SystemExit)


def test_writes_json_with_a_version_and_everything_that_text_says(folder):
    (folder / "meant.py").write_text(WRONG.replace(")\n", ")  # noqa: BN001, BN012\n"))
    content = json.loads(run(folder, "--format", "json").stdout)
    assert content["schema"] == 1
    assert content["findings"][1] == {
        "path": (folder / "wrong.py").as_posix(),
        "line": 2,
        "column": 41,
        "end_line": 2,
        "end_column": 44,
        "cell": None,
        "rule": "BN001",
        "name": "inverted-momentum",
        "url": None,
        "message": content["findings"][1]["message"],
        "fix": "safe",
    }
    counts = {key: content[key] for key in ("files", "passed_over", "suppressed", "problems")}
    assert counts == {"files": 3, "passed_over": 1, "suppressed": 2, "problems": []}


def test_writes_githubs_annotations_with_what_they_must_escape(folder):
    odd = folder / "50%, a:b.py"
    odd.write_text(WRONG)
    (folder / "broken.py").write_text("BatchNorm = (\n")
    done = run(odd, folder / "broken.py", "--format", "github")
    lines = done.stdout.splitlines()
    path = odd.as_posix().replace("%", "%25").replace(",", "%2C").replace(":", "%3A")
    place = f"file={path},line=2,col=27,endColumn=30"
    assert lines[0].startswith(f"::warning {place},title=BN012 epsilon-that-is-none::eps 0.8")
    assert lines[-1].startswith(f"::error file={(folder / 'broken.py').as_posix()}::line 1: ")


def test_takes_settings_from_the_nearest_pyproject_and_options_over_them(folder):
    (folder / "pyproject.toml").write_text(
        '[tool.batchnorm.lint]\nignore = ["BN012"]\nexclude = ["legacy"]\n'
    )
    (folder / "legacy.py").write_text(WRONG)
    rules = [each["rule"] for each in json.loads(run(folder, "--format=json").stdout)["findings"]]
    assert rules == ["BN001"]
    content = json.loads(run(folder, "--format=json", "--ignore", "BN001").stdout)
    assert [each["rule"] for each in content["findings"]] == ["BN012"]
    assert content["files"] == 2
    content = json.loads(run(folder, "--format=json", "--exclude", "wrong").stdout)
    assert content["files"] == 1


def test_takes_the_source_of_a_port_from_settings_and_from_the_option(folder):
    keras = folder / "net.py"
    keras.write_text("import keras\nnorm = keras.layers.BatchNormalization()\n")
    assert run(keras).exit_code == 0
    assert "BN003" in run(keras, "--ported-from", "torch").stdout
    (folder / "pyproject.toml").write_text('[tool.batchnorm.lint]\nported-from = "torch"\n')
    assert "BN003" in run(keras).stdout
    assert run(keras, "--ported-from", "keras").exit_code == 0
    assert "unknown framework 'caffe'" in str(run(keras, "--ported-from", "caffe").exception)
    keras.write_text("import keras\n# batchnorm: ported-from caffe\n" + keras.read_text())
    assert "not linted: line 2: unknown framework 'caffe'" in run(keras).stdout


@pytest.mark.parametrize(
    ("section", "text"),
    [
        ('selct = ["BN001"]', "has no 'selct' (did you mean 'select'?)"),
        ('select = "BN001"', "select must be a list of strings, but is 'BN001'"),
        ("ported-from = 3", "ported-from must be a framework's name, but is 3"),
        ('exclude = ["("]', "exclude '(' is no regular expression"),
        ("select = [", "can't be read"),
    ],
)
def test_says_what_is_wrong_in_pyproject(folder, section, text):
    (folder / "pyproject.toml").write_text(f"[tool.batchnorm.lint]\n{section}\n")
    done = run(folder)
    assert done.exit_code != 0
    assert text in str(done.exception)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_explains_every_rule_by_id_and_by_name(rule):
    page = run("--explain", rule.id)
    assert page.exit_code == 0
    assert page.stdout.startswith(f"# {rule.id} {rule.name}\n")
    assert "## How to fix it" in page.stdout
    assert run("--explain", rule.name).stdout == page.stdout


def test_asks_for_paths_where_there_are_none():
    done = run()
    assert done.exit_code == 2
    assert "name files or folders" in done.stderr


def test_a_folder_is_linted_in_parallel_as_it_is_by_one_process(tmp_path):
    for number in range(12):
        (tmp_path / f"net{number:02}.py").write_text(WRONG if number % 3 else RIGHT)
    one, two = run(tmp_path, "-j", 1), run(tmp_path, "-j", 2)
    assert one.stdout == two.stdout
    assert one.stdout.count("BN001 momentum") == 8


@pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="file modes")
def test_a_package_that_imports_its_own_files_in_its_init_is_linted(tmp_path):
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").write_text("from . import layers, net\nfrom . import gone\n")
    (tmp_path / "pkg" / "layers.py").write_text("def norm(n):\n    return n\n")
    (tmp_path / "pkg" / "net.py").write_text(
        "from mindspore import nn\n\nfrom . import gone, layers\n\n"
        "layers.norm(gone.norm(3))\nnn.BatchNorm2d(3, momentum=0.1)\n"
    )
    result = run(tmp_path)
    assert "net.py:6:28: BN001" in result.output
    assert "not linted" not in result.output


def test_reports_a_file_that_can_not_be_read(folder):
    (folder / "gone.py").symlink_to(folder / "nowhere.py")
    done = run(folder)
    assert done.exit_code == 2
    assert f"{folder / 'gone.py'}: not linted: No such file" in done.stdout


def test_a_function_does_what_the_command_does(folder):
    report = batchnorm.lint(str(folder), select=["BN001"])
    assert [each.rule for each in report.findings] == ["BN001"]
    assert repr(report).splitlines()[-1].startswith("1 finding (BN001 1) in 2 files; --fix would")
    data = json.loads(run(folder, "--select", "BN001", "--json").stdout)
    assert json.loads(report.to_json())["findings"] == data["findings"]
    assert "<td>BN001</td>" in report._repr_html_()
    many = type(report)(report.findings * 99)
    assert len(repr(many).splitlines()) < 25
    (folder / "pyproject.toml").write_text('[tool.batchnorm.lint]\nignore = ["BN001"]\n')
    assert {each.rule for each in batchnorm.lint([folder]).findings} == {"BN012"}
    done = batchnorm.lint(folder, ignore=["BN012"], fix=True)
    assert (done.findings, done.fixed) == ([], 1)
    with pytest.raises(ValueError, match="does not exist"):
        batchnorm.lint(folder / "no")
