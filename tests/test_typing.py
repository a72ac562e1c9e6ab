"""The types that are shipped: wrong calls are found where they stand, right ones pass."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
WRONG = ROOT / "tests" / "data" / "wrong_calls.py"
RIGHT = ROOT / "tests" / "data" / "right_calls.py"
PACKAGE = ROOT / "src" / "batchnorm"


@pytest.fixture(scope="module")
def mypy(tmp_path_factory):
    """Run `mypy --strict` on a file: its errors as (line, code)."""
    if os.environ.get("CI") is None:
        pytest.importorskip("mypy", reason="mypy is not installed; in CI this is an error")
    cache = tmp_path_factory.mktemp("mypy")

    def run(path):
        command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary"]
        command += ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(cache)]
        environment = {**os.environ, "MYPYPATH": str(ROOT / "src"), "NO_COLOR": "1"}
        done = subprocess.run(
            [*command, str(path)], capture_output=True, text=True, cwd=ROOT, env=environment
        )
        assert done.returncode in (0, 1), done.stdout + done.stderr
        found = []
        for line in done.stdout.splitlines():
            if ": note: " in line:
                continue
            match = re.fullmatch(r"(.+?):(\d+): error: .*\[([\w-]+)\]", line)
            assert match, line
            assert Path(match[1]).name == path.name, line
            found.append((int(match[2]), match[3]))
        return found

    return run


def marked():
    lines = enumerate(WRONG.read_text().splitlines(), 1)
    matches = ((number, re.search(r"# error: ([\w-]+)$", line)) for number, line in lines)
    return [(number, match[1]) for number, match in matches if match]


def test_every_wrong_call_is_found_and_nothing_else(mypy):
    assert len(marked()) > 40
    assert mypy(WRONG) == marked()


def test_every_code_and_dialect_is_among_the_wrong_calls():
    assert {code for _, code in marked()} >= {"call-arg", "arg-type", "attr-defined"}
    text = WRONG.read_text()
    for dialect in ("torch", "mindspore", "tf_keras", "keras"):
        assert len(re.findall(rf"bn\.{dialect}\.", text)) >= 5


def test_right_calls_pass(mypy):
    assert mypy(RIGHT) == []


def test_right_calls_run():
    runpy.run_path(str(RIGHT))


def test_types_are_shipped():
    assert (PACKAGE / "py.typed").read_text() == ""
