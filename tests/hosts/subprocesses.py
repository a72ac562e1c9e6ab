"""Runs a file of pytest cases in a process of its own, where a framework can't disturb others."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "GLOG_v": "3"}


def need(*packages):
    """Skip where a package is missing; fail in CI, where all are installed."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            if os.environ.get("CI"):
                pytest.fail(f"{package} is not installed, and in CI it must be")
            pytest.skip(f"{package} is not installed")


def run_cases(name, **env):
    """`pytest NAME` of this folder; its report is this test's."""
    path = Path(__file__).parent / name
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--maxfail=8",
        "--tb=short",
        "-p",
        "no:cacheprovider",
        str(path),
    ]
    done = subprocess.run(
        [*command, "-W", "default"],
        env={**os.environ, **QUIET, **env},
        cwd=path.parents[2],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
