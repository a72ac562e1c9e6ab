"""The explorer's arithmetic, in node, against what the package itself gives."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from built import skipped

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SCRIPT = """
require("./docs/site/explorer.facts.js");
const explorer = require("./docs/site/explorer.js");
const disagrees = require("./tests/site/explorer_check.js");
const cases = JSON.parse(require("fs").readFileSync("tests/site/explorer_vectors.json"));
console.log(JSON.stringify(%s));
"""
NODE = shutil.which("node") or shutil.which("nodejs")
needs_node = skipped(NODE is None, "no node: Debian's package nodejs")


def node(expression):
    command = [NODE, "-e", SCRIPT % expression]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_facts_are_those_of_the_declarations():
    command = [sys.executable, "docs/site/facts.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_vectors_are_what_the_package_gives(monkeypatch):
    monkeypatch.setenv("BATCHNORM_KERNEL", "reference")
    command = [sys.executable, "tests/site/vectors.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_node
def test_calls_states_and_outputs_are_the_packages():
    cases = json.loads((HERE / "explorer_vectors.json").read_text(encoding="utf-8"))
    assert len(cases) > 100
    ended = [case for case in cases if "y" in case.get("right", ())]
    assert len(ended) > 60  # the others are refused by one side
    assert node("disagrees(explorer, cases)") == []


@needs_node
@pytest.mark.parametrize("broken", ["source.steps[0].mean[0] += 1e-6", "right.text += ' '"])
def test_what_disagrees_is_found(broken):
    wrong = "{...explorer, explore: (s) => { const found = explorer.explore(s); try { found."
    found = node(f"disagrees({wrong}{broken}; }} catch {{}} return found; }}}}, cases)")
    assert len(found) > 60


@needs_node
def test_numbers_are_written_as_python_writes_them():
    values = [0.1, 1e-5, 1e-4, 123456.0, 1e16, 1.5e300, -2.5e-7, 0.0, 5e-324, 1e22, 3.0]
    assert node(f"{values}.map(explorer.repr)") == [repr(value) for value in values]
    ones = {"0.01": "0.99", "0.9": "0.1", "0.9997": "0.0003", "1.5": "-0.5", "1.0": "0.0"}
    assert node(f"{list(ones)}.map(explorer.complement)") == list(ones.values())


@needs_node
def test_the_first_difference_has_its_reason():
    settings = {
        **{"from": "torch", "to": "keras", "rank": 4, "given": {}, "channels": 3, "samples": 8},
        **{"size": 3, "steps": 5, "seed": 1, "same": False, "mean": 0.5, "std": 1, "values": None},
        **{"inference": False, "ignored": ["momentum"]},
    }
    found = node(f"explorer.explore({json.dumps(settings)})")
    right, ignored = found["right"]["first"], found["ignored"]["first"]
    assert (right["step"], right["quantity"], right["causes"]) == (0, "var", ["variance"])
    assert (ignored["step"], ignored["quantity"], ignored["causes"]) == (0, "mean", ["momentum"])
