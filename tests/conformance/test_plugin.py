"""The plugin in a pytest of its own, on adapters around our own layers."""

import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def run(folder, *arguments):
    plugin = ("-p", "batchnorm.conformance.plugin", "-p", "no:cacheprovider", "-rA")
    job = [sys.executable, "-m", "pytest", *plugin, *arguments]
    path = f"import sys; sys.path[:0] = [{str(HERE)!r}, '.']\n"
    (folder / "layers.py").write_text(f"{path}from test_conformance import *\n")
    return subprocess.run(job, cwd=folder, capture_output=True, text=True, timeout=300)


def outcomes(text):
    found = re.findall(r"^([A-Z]+) layers:\w+::(.*?)(?: - .*)?$", text, re.M)
    return {name: outcome for outcome, name in found}


INVERTED = ("--bn-layer", "layers:Inverted", "--bn-dialect", "torch", "--bn-examples", "2")


def test_each_question_and_case_is_a_test_beside_others(tmp_path):
    (tmp_path / "test_own.py").write_text("def test_own(): pass\n")
    (tmp_path / "known.toml").write_text(
        "[[expected]]\nquestion = 'weight-of-the-new-batch'\nreason = 'inverted'\n"
        "[[expected]]\nquestion = 'zero-epsilon'\nreason = 'no reason'\n"
    )
    chosen = "own or case or weight-of-the-new or epsilon or running or wrong-number or printed"
    ran = run(tmp_path, *INVERTED, "--bn-expected", "known.toml", "-k", chosen)
    found = outcomes(ran.stdout)
    assert ran.returncode == 1
    assert "PASSED test_own.py::test_own" in ran.stdout
    assert found["weight-of-the-new-batch"] == "XFAIL"
    assert found["zero-epsilon"] == "FAILED"
    assert "passed, but was expected to fail: no reason" in ran.stdout
    assert found["running-mean-formula"] == "FAILED"
    assert "running-mean-formula: wanted True, got False" in ran.stdout
    assert found["initial-running-statistics"] == "PASSED"
    assert {"case 0", "case 1"} <= set(found)
    assert "SKIPPED" in ran.stdout
    assert "the adapter has no repr" in ran.stdout
    assert "momentum-of-one" not in found
    marked = run(tmp_path, *INVERTED, "-m", "batchnorm", "-k", "own or wrong-number")
    assert "2 passed" in marked.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--bn-layer", "layers:Inverted"), "are given together"),
        (("--bn-layer", "no_such:x", "--bn-dialect", "torch"), "expected package.module:adapter"),
        (("--bn-layer", "layers:Inverted", "--bn-dialect", "mint"), "can't be asked"),
    ],
)
def test_wrong_usage_is_an_error(tmp_path, arguments, said):
    ran = run(tmp_path, *arguments)
    assert said in ran.stdout + ran.stderr
    assert ran.returncode in (2, 4)


def test_nothing_is_loaded_without_being_asked_for():
    own = [point for point in entry_points(group="pytest11") if "batchnorm" in point.value]
    assert own == []
