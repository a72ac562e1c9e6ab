"""Real frameworks in processes of their own; one that is missing skips, or fails in CI."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NETS = Path(__file__).parent / "nets"


def needed(framework: str) -> None:
    """Skip without the framework; fail in CI."""
    if importlib.util.find_spec(framework) is None:
        if os.environ.get("CI"):
            pytest.fail(f"{framework} is not installed, and CI must have it")
        pytest.skip(f"{framework} is not installed")


def run_script(script: Path, *arguments: str) -> str:
    """What a script prints; fails the test with its error output."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOG_v": "3", "CUDA_VISIBLE_DEVICES": ""}
    environment.pop("PYTHONWARNINGS", None)
    done = subprocess.run(
        [sys.executable, str(script), *arguments],
        capture_output=True, text=True, timeout=540, env=environment, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.fail(f"{script.name} ended with {done.returncode}:\n{_relevant(done.stderr)}")
    return done.stdout


def run_jobs(framework: str, jobs: list[dict], folder: Path) -> None:
    """Let a framework's worker make, load, run and train nets."""
    needed(framework)
    path = folder / f"{framework}-{len(list(folder.iterdir()))}.json"
    path.write_text(json.dumps(jobs))
    family = "keras" if framework == "tf_keras" else framework
    run_script(NETS / f"{family}_nets.py", str(path), *([framework] if family == "keras" else []))


def _relevant(text: str) -> str:
    """The error output without what MindSpore's cells say when the interpreter ends."""
    return text.partition("Exception ignored in")[0][-3000:]
