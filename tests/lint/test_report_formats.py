"""What other programs read: SARIF, GitLab's code quality, GitHub's lines; links, counts, codes."""

import json
import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from click.testing import CliRunner

from batchnorm import __version__
from batchnorm.cli import group
from batchnorm.lint import RULES

WRONG = "from torch import nn\nnorm = nn.BatchNorm2d(64, 0.8, momentum=0.9)\n"
TWICE = "from torch import nn\n\n\ndef norms():\n" + "    nn.BatchNorm2d(8, momentum=0.9)\n" * 2
URL = "https://example.org/rules/{id}.html"

# Object -> keys that the schema of SARIF 2.1.0 requires, and all that it knows of those we write.
SARIF = {
    "log": ({"version", "runs"}, {"$schema"}),
    "run": ({"tool"}, {"columnKind", "originalUriBaseIds", "invocations", "results"}),
    "driver": ({"name"}, {"version", "rules"}),
    "rule": ({"id"}, {"name", "shortDescription", "help", "helpUri", "defaultConfiguration"}),
    "invocation": ({"executionSuccessful"}, {"toolExecutionNotifications"}),
    "notification": ({"message"}, {"level", "locations"}),
    "result": (
        {"message"},
        {"ruleId", "ruleIndex", "level", "locations", "partialFingerprints"},
    ),
    "message": ({"text"}, {"markdown"}),
    "location": ({"physicalLocation"}, set()),
    "physical": ({"artifactLocation"}, {"region"}),
    "artifact": ({"uri"}, {"uriBaseId"}),
    "region": ({"startLine"}, {"startColumn", "endLine", "endColumn"}),
}


def run(*arguments, stdin=None):
    return CliRunner().invoke(group, ["lint", *map(str, arguments)], input=stdin)


def notebook(*cells):
    made = [
        {"cell_type": "code", "source": source, "metadata": {}, "outputs": []} for source in cells
    ]
    return json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wrong.py").write_text(WRONG)
    (tmp_path / "twice.py").write_text(TWICE)
    return tmp_path


def is_a(kind, content):
    needed, known = SARIF[kind]
    assert needed <= set(content) <= needed | known, kind
    return content


def log_of(*arguments, code=1, stdin=None):
    """The log, after looking at what the schema asks of each of its objects."""
    done = run(*arguments, "--format", "sarif", stdin=stdin)
    assert done.exit_code == code
    log = is_a("log", json.loads(done.stdout))
    assert log["version"] == "2.1.0"
    (found,) = log["runs"]
    is_a("run", found)
    driver = is_a("driver", found["tool"]["driver"])
    for rule in driver["rules"]:
        is_a("rule", rule)
        is_a("message", rule["shortDescription"])
        is_a("message", rule["help"])
    (invocation,) = found["invocations"]
    notes = is_a("invocation", invocation)["toolExecutionNotifications"]
    for each in [is_a("notification", note) for note in notes] + found["results"]:
        is_a("message", each["message"])
        assert each["level"] in ("none", "note", "warning", "error")
        (location,) = each["locations"]
        physical = is_a("physical", is_a("location", location)["physicalLocation"])
        uri = is_a("artifact", physical["artifactLocation"])["uri"]
        assert re.fullmatch(r"[\w.~%/:-]+", uri, re.ASCII)
        if "uriBaseId" in physical["artifactLocation"]:
            assert physical["artifactLocation"]["uriBaseId"] in found["originalUriBaseIds"]
            assert not uri.startswith("/")
            assert not urlsplit(uri).scheme
        else:
            assert urlsplit(uri).scheme == "file"
    for each in found["results"]:
        is_a("result", each)
        assert driver["rules"][each["ruleIndex"]]["id"] == each["ruleId"]
        region = is_a("region", each["locations"][0]["physicalLocation"]["region"])
        assert all(value >= 1 for value in region.values())
        start = region["startLine"], region.get("startColumn", 1)
        assert (region.get("endLine", start[0]), region.get("endColumn", 2)) > start
    return found


def test_sarif_has_what_the_standard_requires_and_every_rule(folder):
    found = log_of("wrong.py")
    driver = found["tool"]["driver"]
    assert driver["version"] == __version__
    assert [rule["id"] for rule in driver["rules"]] == [rule.id for rule in RULES]
    assert "## How to fix it" in driver["rules"][0]["help"]["markdown"]
    assert "](BN" not in driver["rules"][0]["help"]["markdown"]
    assert found["invocations"] == [{"executionSuccessful": True, "toolExecutionNotifications": []}]


def test_sarif_points_from_the_first_character_to_the_one_after_the_last(folder):
    (folder / "wide.py").write_text(WRONG.replace("norm =", "卷积 = 𝔵 ="), encoding="utf-8")
    regions = [
        each["locations"][0]["physicalLocation"]["region"] for each in log_of("wide.py")["results"]
    ]
    line = (folder / "wide.py").read_text(encoding="utf-8").splitlines()[1]
    cut = [line[each["startColumn"] - 1 : each["endColumn"] - 1] for each in regions]
    assert cut == ["0.8", "0.9"]
    assert log_of("wide.py")["columnKind"] == "unicodeCodePoints"


def test_sarif_names_files_from_the_working_folder_and_those_outside_of_it_whole(
    folder, monkeypatch
):
    (folder / "sub").mkdir()
    (folder / "sub" / "50% ü#?.py").write_text(WRONG)
    monkeypatch.chdir(folder / "sub")
    inside, _, outside, _ = [
        each["locations"][0]["physicalLocation"]["artifactLocation"]
        for each in log_of(folder / "sub", folder / "wrong.py")["results"]
    ]
    assert unquote(inside["uri"]) == "50% ü#?.py"
    assert Path(unquote(urlsplit(outside["uri"]).path)).name == "wrong.py"


def test_sarif_tells_what_was_not_linted(folder):
    (folder / "broken.py").write_text("BatchNorm = (\n")
    found = log_of("broken.py", code=2)
    (invocation,) = found["invocations"]
    assert invocation["executionSuccessful"] is False
    (note,) = invocation["toolExecutionNotifications"]
    assert note["message"]["text"].startswith("not linted: line 1")
    assert note["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "broken.py"


def test_sarif_of_standard_input_and_of_nothing(folder):
    assert len(log_of("-", stdin=WRONG)["results"]) == 2
    assert log_of("-", stdin="", code=0)["results"] == []


def prints(form, *arguments):
    content = json.loads(run(*arguments, "--format", form).stdout)
    if form == "gitlab":
        return [each["fingerprint"] for each in content]
    return [next(iter(e["partialFingerprints"].values())) for e in content["runs"][0]["results"]]


@pytest.mark.parametrize("form", ["gitlab", "sarif"])
def test_fingerprints_differ_in_a_report_and_stay_when_lines_move(folder, form):
    before = prints(form, ".")
    assert len(set(before)) == len(before) == 4
    (folder / "twice.py").write_text("import os\n\n" + TWICE.replace("    nn", "        nn"))
    assert prints(form, ".") == before
    (folder / "wrong.py").write_text(WRONG.replace("64", "65"))
    after = prints(form, ".")
    assert len(set(after) & set(before)) == 2


def test_gitlab_takes_every_entry(folder):
    (folder / "broken.py").write_text("BatchNorm = (\n")
    done = run(".", "--format", "gitlab")
    assert done.exit_code == 2
    content = json.loads(done.stdout)
    assert [each["location"]["path"] for each in content] == [
        *["twice.py"] * 2, *["wrong.py"] * 2, "broken.py"
    ]  # fmt: skip
    for each in content:
        assert set(each) == {"description", "check_name", "fingerprint", "severity", "location"}
        assert each["severity"] in ("info", "minor", "major", "critical", "blocker")
        assert re.fullmatch("[0-9a-f]{64}", each["fingerprint"])
    first, last = content[0], content[-1]
    assert first["check_name"] == "BN001"
    assert first["description"].startswith("BN001 inverted-momentum: momentum 0.9")
    assert first["location"]["lines"] == {"begin": 5, "end": 5}
    assert last["check_name"] == "not-linted"
    assert json.loads(run("-", "--format", "gitlab", stdin="").stdout) == []


def test_a_notebooks_lines_are_not_taken_for_the_files(folder):
    (folder / "net.ipynb").write_text(notebook("import torch", WRONG))
    place = log_of("net.ipynb")["results"][0]
    assert place["locations"][0]["physicalLocation"]["region"] == {"startLine": 1}
    assert place["message"]["text"].startswith("cell 2, line 2: eps 0.8")
    (first, _) = json.loads(run("net.ipynb", "--format", "gitlab").stdout)
    assert first["location"]["lines"]["begin"] == 1
    assert "cell 2, line 2: eps" in first["description"]
    line = run("net.ipynb", "--format", "github").stdout.splitlines()[0]
    assert line.startswith("::warning file=net.ipynb,line=1,title=BN012")
    assert "::cell 2, line 2: eps" in line


@pytest.mark.skipif(os.name == "nt", reason="such names")
@pytest.mark.parametrize("form", ["gitlab", "sarif"])
def test_signs_of_a_terminal_are_escaped_in_what_other_programs_read(folder, form):
    (folder / "x\x1b[31m.py").write_text(WRONG)
    done = run(".", "--format", form)
    assert "\x1b" not in done.stdout
    json.loads(done.stdout)


def test_findings_link_to_their_rules_pages_where_the_project_says_where_they_are(folder):
    (folder / "pyproject.toml").write_text(f'[tool.batchnorm.lint]\nrule-url = "{URL}"\n')
    rules = log_of("wrong.py")["tool"]["driver"]["rules"]
    assert rules[0]["helpUri"] == "https://example.org/rules/BN001.html"
    assert all(urlsplit(rule["helpUri"]).scheme == "https" for rule in rules)
    findings = json.loads(run("wrong.py", "--json").stdout)["findings"]
    assert findings[0]["url"] == "https://example.org/rules/BN012.html"
    lines = run("wrong.py").stdout.splitlines()
    assert lines[-2:] == [
        "BN001: https://example.org/rules/BN001.html",
        "BN012: https://example.org/rules/BN012.html",
    ]
    assert "https" not in run("wrong.py", "-q").stdout


@pytest.mark.parametrize("url", ["rules/{id}.md", "https://example.org/", "https://a b/{id}"])
def test_refuses_an_address_that_leads_nowhere(folder, url):
    (folder / "pyproject.toml").write_text(f'[tool.batchnorm.lint]\nrule-url = "{url}"\n')
    assert "rule-url must be an address such as" in str(run("wrong.py").exception)


def test_counts_per_rule(folder):
    done = run(".", "--statistics")
    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        "      3 BN001 inverted-momentum",
        "      1 BN012 epsilon-that-is-none",
        "4 findings (BN001 3, BN012 1) in 2 files; --fix would fix 3.",
    ]
    assert json.loads(run(".", "--json").stdout)["statistics"] == {"BN001": 3, "BN012": 1}
    assert run(".", "--statistics", "--format", "sarif").exit_code == 2


def test_exits_with_0_in_spite_of_findings_but_not_of_unread_files(folder):
    done = run(".", "--exit-zero", "--json")
    assert done.exit_code == 0
    content = json.loads(done.stdout)
    assert content["exit_code"] == 0
    assert len(content["findings"]) == 4
    (folder / "broken.py").write_text("BatchNorm = (\n")
    assert run(".", "--exit-zero").exit_code == 2
