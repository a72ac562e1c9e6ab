"""torch, safetensors, MindSpore, Keras 2 and 3, NumPy and h5py open what this package writes."""

import importlib.util
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from opening import CHECKS

HERE = Path(__file__).parent
PAIRS = [(name, check.__name__) for name, checks in CHECKS.items() for check in checks]


@cache
def outcomes(framework):
    """What the checks of a framework say, in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1] / "src")}
    run = subprocess.run(
        [sys.executable, HERE / "opening.py", framework],
        env=environment, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    lines = [line for line in run.stdout.splitlines() if line.startswith('{"check"')]
    found = {line["check"]: line["trouble"] for line in map(json.loads, lines)}
    return found, f"exit {run.returncode}: {run.stderr[-2000:]}"


@pytest.mark.parametrize(("framework", "check"), PAIRS, ids=[check for _, check in PAIRS])
@pytest.mark.xdist_group("frameworks")
def test_it_opens_what_we_write(framework, check):
    if importlib.util.find_spec(framework) is None:
        assert not os.environ.get("CI"), f"{framework} must be installed in CI"
        pytest.skip(f"{framework} is not installed")
    found, end = outcomes(framework)
    assert check in found, end
    assert found[check] is None, found[check]
