"""Findings that are known already, and rules that are left out of some files."""

import json
import sys

import pytest
from click.testing import CliRunner

from batchnorm.cli import group

HEAD = "from torch import nn\n"
LINE = "norm = nn.BatchNorm2d(64, momentum=0.9)\n"


def run(*arguments, stdin=None):
    return CliRunner().invoke(group, ["lint", *map(str, arguments)], input=stdin)


def places(*arguments):
    content = json.loads(run(*arguments, "--json").stdout)
    return [(each["path"], each["line"]) for each in content["findings"]], content


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "net.py").write_text(HEAD + LINE)
    return tmp_path


def test_known_findings_are_passed_over_and_counted(folder):
    done = run("src", "--write-baseline", "known.json")
    assert done.exit_code == 0
    assert done.stdout == ""
    assert done.stderr == "known.json: 1 findings known\n"
    done = run("src", "--baseline", "known.json")
    assert done.exit_code == 0
    assert done.stdout == "0 findings in 1 file; 1 known by the baseline.\n"
    found, content = places("src", "--baseline", "known.json")
    assert (found, content["known"], content["exit_code"]) == ([], 1, 0)


def test_a_line_that_moves_stays_known_and_another_like_it_is_new(folder):
    run("src", "--write-baseline", "known.json")
    net = folder / "src" / "net.py"
    net.write_text("import os\n\n" + HEAD + "if True:\n    " + LINE)
    assert places("src", "--baseline", "known.json")[0] == []
    net.write_text(HEAD + LINE + LINE)
    assert places("src", "--baseline", "known.json")[0] == [("src/net.py", 3)]
    net.write_text(HEAD + LINE.replace("64", "32"))
    assert places("src", "--baseline", "known.json")[0] == [("src/net.py", 2)]
    net.rename(folder / "src" / "other.py")
    assert len(places("src", "--baseline", "known.json")[0]) == 1


def test_paths_are_seen_from_the_file_wherever_the_command_runs(folder, monkeypatch):
    run("src", "--write-baseline", "known.json")
    monkeypatch.chdir(folder / "src")
    assert places("net.py", "--baseline", "../known.json")[0] == []
    assert places(folder, "--baseline", folder / "known.json")[0] == []


@pytest.mark.skipif(sys.platform != "linux", reason="names that are no UTF-8")
def test_a_baseline_is_written_in_one_order_and_read_as_it_was_written(folder):
    (folder / "src" / "a\udcff.py").write_text(HEAD + LINE + LINE)
    run("src", "--write-baseline", "one.json")
    run(*sorted((folder / "src").iterdir(), reverse=True), "--write-baseline", "two.json")
    assert (folder / "one.json").read_bytes() == (folder / "two.json").read_bytes()
    assert places("src", "--baseline", "one.json")[0] == []
    listed = json.loads((folder / "one.json").read_text())["findings"]
    assert [each["count"] for each in listed] == [2, 1]


def test_a_baseline_of_a_notebook_knows_its_lines_in_any_cell(folder):
    def notebook(*sources):
        cells = [{"cell_type": "code", "source": s, "metadata": {}, "outputs": []} for s in sources]
        content = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        (folder / "net.ipynb").write_text(json.dumps(content))

    notebook(HEAD + LINE)
    assert len(places("net.ipynb")[0]) == 1
    run("net.ipynb", "--write-baseline", "known.json")
    notebook("import os", HEAD, LINE)
    assert places("net.ipynb", "--baseline", "known.json")[0] == []


def test_what_could_not_be_read_is_told_and_never_known(folder):
    (folder / "src" / "broken.py").write_text("BatchNorm = (\n")
    done = run("src", "--write-baseline", "known.json")
    assert done.exit_code == 2
    assert "not linted" in done.stderr
    assert run("src", "--baseline", "known.json").exit_code == 2


def test_the_two_options_exclude_each_other(folder):
    done = run("src", "--baseline", "a", "--write-baseline", "a")
    assert done.exit_code == 2
    assert "give it without --baseline" in done.stderr


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "there is no such baseline; --write-baseline writes one"),
        ("{", "is no baseline (Expecting"),
        ("[]", "is no baseline of schema 1"),
        ('{"schema": 2, "findings": []}', "is no baseline of schema 1"),
        ('{"schema": 1}', "its findings must have path, rule, text"),
        ('{"schema": 1, "findings": [{"path": "a"}]}', "its findings must have path, rule, text"),
        (
            '{"schema": 1, "findings": [{"path": "a", "rule": "b", "text": "c", "count": 0}]}',
            "a positive count",
        ),
    ],
)
def test_says_what_is_wrong_with_a_baseline(folder, content, text):
    if content is not None:
        (folder / "known.json").write_text(content)
    done = run("src", "--baseline", "known.json")
    assert done.exit_code != 0
    assert text in str(done.exception)


@pytest.mark.parametrize(
    ("pattern", "left_out"),
    [
        ("net.py", {"src/net.py", "src/deep/er/net.py"}),
        ("src/net.py", {"src/net.py"}),
        ("./src/net.py", {"src/net.py"}),
        ("src/*", {"src/net.py", "src/deep/er/net.py", "src/deep/er/loss.py"}),
        ("src/**", {"src/net.py", "src/deep/er/net.py", "src/deep/er/loss.py"}),
        ("src/**/net.py", {"src/net.py", "src/deep/er/net.py"}),
        ("**/er/*.py", {"src/deep/er/net.py", "src/deep/er/loss.py"}),
        ("l*.py", {"src/deep/er/loss.py"}),
        ("deep/er/net.py", set()),
    ],
)
@pytest.mark.parametrize("start", [".", "src"])
def test_rules_are_left_out_of_the_files_of_a_pattern(
    folder, monkeypatch, pattern, left_out, start
):
    (folder / "src" / "deep" / "er").mkdir(parents=True)
    for name in ("net.py", "loss.py"):
        (folder / "src" / "deep" / "er" / name).write_text(HEAD + LINE)
    (folder / "pyproject.toml").write_text(
        f'[tool.batchnorm.lint.per-file-ignores]\n"{pattern}" = ["BN001"]\n"*.txt" = ["BN0"]\n'
    )
    everything = {"src/net.py", "src/deep/er/net.py", "src/deep/er/loss.py"}
    monkeypatch.chdir(folder / start)
    found = {path for path, _ in places(folder)[0]}
    root = folder.as_posix() + "/"
    assert {path.removeprefix(root) for path in found} == everything - left_out


def test_another_rule_still_looks_into_the_file(folder):
    (folder / "pyproject.toml").write_text(
        '[tool.batchnorm.lint.per-file-ignores]\n"net.py" = ["BN012", "BN002"]\n'
    )
    assert len(places("src")[0]) == 1
    assert run("-", stdin=HEAD + LINE).exit_code == 1


@pytest.mark.parametrize(
    ("section", "text"),
    [
        ('per-file-ignores = ["BN001"]', "per-file-ignores must be a table of patterns"),
        ('per-file-ignores = {"a.py" = "BN001"}', "a.py must be a list of strings, but is 'BN001'"),
        ('per-file-ignores = {"a.py" = ["BN099"]}', "there is no rule 'BN099'"),
    ],
)
def test_says_what_is_wrong_with_per_file_ignores(folder, section, text):
    (folder / "pyproject.toml").write_text(f"[tool.batchnorm.lint]\n{section}\n")
    assert text in str(run("src").exception)
