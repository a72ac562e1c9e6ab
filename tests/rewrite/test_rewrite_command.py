"""The command `rewrite`: diffs, exit codes, files that are bad, and what is said at the end."""

import json
import subprocess

import pytest
from click.testing import CliRunner

import batchnorm
from batchnorm.cli.rewrite import command
from batchnorm.rewrite import rewrite_source

TEXT = "from torch import nn\n\nbn = nn.BatchNorm2d(64, momentum=0.01)\n"
AFTER = "from mindspore import nn\n\nbn = nn.BatchNorm2d(64, momentum=0.99)\n"


def run(*arguments, **options):
    given = [*map(str, arguments), "--from", "torch", "--to", "mindspore"]
    return CliRunner().invoke(command, given, **options)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "net.py").write_text(TEXT)
    (tmp_path / "left.py").write_text(
        "from torch import nn\nbn = nn.BatchNorm2d(64, momentum=None)\n"
    )
    (tmp_path / "other.py").write_text("import os\n")
    return tmp_path


def test_a_diff_is_printed_that_patch_takes_and_nothing_is_changed(folder, monkeypatch):
    monkeypatch.chdir(folder)
    done = run(".")
    assert done.exit_code == 1
    assert (folder / "net.py").read_text() == TEXT
    assert "-bn = nn.BatchNorm2d(64, momentum=0.01)\n+bn = nn.BatchNorm2d(64, momentum=0.99)\n" in (
        done.stdout
    )
    subprocess.run(["patch", "-p1", "-s"], input=done.stdout, text=True, check=True)
    assert (folder / "net.py").read_text() == AFTER


def test_writing_changes_files_and_a_second_time_nothing(folder):
    first = run(folder, "--write")
    assert first.exit_code == 1  # something was left
    assert (folder / "net.py").read_text() == AFTER
    assert "# batchnorm: left as it was" in (folder / "left.py").read_text()
    assert not first.stdout
    second = run(folder, "--write")
    assert second.exit_code == 0
    assert run(folder).exit_code == 0


def test_check_prints_no_diff(folder):
    done = run(folder, "--check")
    assert done.exit_code == 1
    assert not done.stdout
    assert "2 sites in 2 files: 1 rewritten, 1 left (1: momentum=None averages" in done.stderr


def test_a_file_that_does_not_parse_is_reported_and_the_rest_goes_on(folder):
    (folder / "bad.py").write_text("nn.BatchNorm2d(\n")
    (folder / "bytes.py").write_bytes(b"# BatchNorm\nx = '\xff'\n")
    (folder / "note.ipynb").write_text('{"nbformat": 3, "x": "BatchNorm2d"}')
    done = run(folder, "--write")
    assert done.exit_code == 2
    assert (folder / "net.py").read_text() == AFTER
    assert "bad.py: line 1: does not parse" in done.stderr
    assert "bytes.py: is not text" in done.stderr
    assert "note.ipynb: is no notebook of format 4" in done.stderr
    assert "3 files not read" in done.stderr


def test_json_is_one_object_with_every_site(folder):
    done = run(folder, "--json")
    found = json.loads(done.stdout)
    assert (found["schema"], found["exit_code"], done.exit_code) == (1, 1, 1)
    sites = {site["outcome"]: site for file in found["files"] for site in file["sites"]}
    assert sites["rewritten"]["after"] == "nn.BatchNorm2d(64, momentum=0.99)"
    assert "momentum=None" in sites["left"]["reason"]
    assert found["summary"]["sites"] == 2
    assert found["summary"]["files_without_batch_norm"] == 1


def test_standard_input_is_rewritten_to_standard_output():
    done = run("-", input=TEXT)
    assert (done.exit_code, done.stdout) == (1, AFTER)
    assert run("-", "--write", input=TEXT).exit_code == 2


def test_every_remaining_difference_is_named_at_its_lines(folder):
    done = CliRunner().invoke(command, [str(folder / "net.py"), "--from", "torch", "--to", "keras"])
    assert "net.py:3: differs: keras divides the variance" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.py", "--from", "torch", "--to", "keras"], "does not exist"),
        ([".", "--from", "torch", "--to", "torch"], "one framework"),
        ([".", "--from", "torch"], "Missing option '--to'"),
        ([".", "--from", "torch", "--to", "keras", "--check", "--write"], "give one of them"),
    ],
)
def test_wrong_usage_says_what_was_expected(arguments, said):
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 2
    assert said in done.stderr


def test_an_unknown_framework_is_refused_with_a_hint(folder):
    done = CliRunner().invoke(command, [str(folder), "--from", "pytroch", "--to", "keras"])
    assert "unknown framework 'pytroch' (did you mean 'torch'?)" in done.output


def test_encoding_and_newlines_stay(tmp_path):
    file = tmp_path / "net.py"
    raw = f"# -*- coding: latin-1 -*-\n# é\n{TEXT}".replace("\n", "\r\n").encode("latin-1")
    file.write_bytes(raw)
    assert run(file, "--write").exit_code == 0
    expected = f"# -*- coding: latin-1 -*-\n# é\n{AFTER}".replace("\n", "\r\n").encode("latin-1")
    assert file.read_bytes() == expected


@pytest.mark.parametrize("newline", ["\r\n", "\r"])
@pytest.mark.parametrize("to", ["mindspore", "keras"])
def test_arguments_that_are_added_end_their_lines_as_the_file_does(newline, to):
    text = (
        "from torch import nn\nbn = nn.BatchNorm2d(  # a\n    64,  # b\n    # c\n"
        "    momentum=0.2,  # d\n    eps=(\n        1e-4\n    )  # e\n)\n"
    )
    expected = rewrite_source(text, from_="torch", to=to).after.replace(b"\n", newline.encode())
    found = rewrite_source(text.replace("\n", newline), from_="torch", to=to)
    assert found.after == expected


NET = """from torch import nn
class Net(nn.Module):
    def __init__(self):
        self.bn = nn.BatchNorm2d(8)
class Head(nn.Module):
    pass
"""


def test_classes_that_stay_the_old_frameworks_are_named_and_are_the_exit_code(tmp_path):
    (tmp_path / "net.py").write_text(NET)
    done = run(tmp_path, "--write")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1].endswith(
        "1 class around them still derived from the old framework's nets: Net"
    )
    assert run(tmp_path, "--write").exit_code == 0  # told once, as marks are
    (tmp_path / "net.py").write_text(NET)
    done = run(tmp_path, "--json")
    assert json.loads(done.stdout)["summary"]["classes"] == ["Net"]


def test_what_a_name_of_another_file_may_be_is_told(tmp_path):
    for name, text in {
        "pkg/__init__.py": "",
        "pkg/own.py": "class BatchNorm2d:\n    pass\n",
        "pkg/backend.py": "import os\nif os.environ.get('B'):\n    from torch import nn\nelse:\n"
        "    from pkg import own as nn\n",
        "pkg/net.py": "from pkg.backend import nn\nbn = nn.BatchNorm2d(3)\n",
        "pkg/star.py": "from elsewhere import *\nbn = BatchNorm2d(3)\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    sites = [
        site
        for each in ("net.py", "star.py")
        for site in rewrite_source(
            (tmp_path / "pkg" / each).read_bytes(),
            from_="torch",
            to="mindspore",
            path=tmp_path / "pkg" / each,
        ).sites
    ]
    assert [site.reason for site in sites] == [
        "nn may be torch.nn or pkg/own.py: import the one that is meant",
        "what BatchNorm2d is can't be told from this file",
    ]


def test_a_function_does_what_the_command_does(tmp_path):
    (tmp_path / "net.py").write_text(NET)
    report = batchnorm.rewrite(str(tmp_path), from_="torch", to="mindspore")
    assert (report.sites, report.exit_code, report.results[0][1].changed) == (1, 1, True)
    assert (tmp_path / "net.py").read_text() == NET
    data = json.loads(run(tmp_path, "--json").stdout)
    ours = json.loads(report.to_json())
    assert ours["files"] == data["files"]
    assert ours["summary"] == data["summary"]
    assert repr(report).splitlines()[-1] == report.summary()
    assert "<td>nn.BatchNorm2d(8)</td>" in report._repr_html_()
    copy = batchnorm.rewrite([tmp_path], from_="torch", to="keras", out_dir=tmp_path.parent / "new")
    assert copy.written
    assert "keras" in (tmp_path.parent / "new" / "net.py").read_text()
    batchnorm.rewrite(tmp_path, from_="torch", to="mindspore", write=True)
    assert "mindspore" in (tmp_path / "net.py").read_text()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"from_": "torch", "written_as": "torch"}, "give from_, or written_as"),
        ({}, "give from_, or written_as"),
        ({"from_": "keras"}, "one framework"),
        ({"from_": "torch", "out_dir": "x", "write": True}, "give one"),
    ],
)
def test_a_function_says_what_it_expects(tmp_path, given, said):
    with pytest.raises(ValueError, match=said):
        batchnorm.rewrite(tmp_path, to="keras", **given)
    with pytest.raises(ValueError, match="does not exist"):
        batchnorm.rewrite(tmp_path / "no", from_="torch", to="keras")
