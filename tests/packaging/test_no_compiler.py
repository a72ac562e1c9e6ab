"""The package without its kernel: it installs where there is no compiler, says so, and computes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUN = """
import numpy as np, batchnorm as bn
from batchnorm.core import kernel
x = np.random.default_rng(3).standard_normal((6, 4)).astype("f4")
y, w = np.asarray(bn.torch.BatchNorm1d(4)(x)), x.astype("f8")
assert np.allclose(y, (w - w.mean(0)) / np.sqrt(w.var(0) + 1e-5), atol=1e-6)
assert bn.get_num_threads() == 1
bn.set_num_threads(2)
print(list(kernel.IMPLEMENTATIONS))
"""


@pytest.fixture
def without(tmp_path):
    """The package's Python files alone."""
    ignored = shutil.ignore_patterns("_kernel*.so", "_kernel*.pyd", "__pycache__")
    shutil.copytree(ROOT / "src" / "batchnorm", tmp_path / "batchnorm", ignore=ignored)
    return tmp_path


def run(folder, *options, **environment):
    # -S keeps the editable installation away, which would bring its kernel.
    paths = os.pathsep.join([str(folder), *(p for p in sys.path if p.endswith("site-packages"))])
    environment = {**os.environ, "PYTHONPATH": paths, **environment}
    command = [sys.executable, "-S", *options, "-c", RUN]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_it_computes_and_warns_once(without):
    done = run(without)
    assert done.stdout == "['reference']\n", done.stderr
    assert done.stderr.count("RuntimeWarning") == 1
    assert "without its compiled kernel" in done.stderr


def test_who_asks_for_numpy_hears_nothing(without):
    done = run(without, BATCHNORM_KERNEL="reference")
    assert (done.stdout, done.stderr) == ("['reference']\n", "")


def test_a_kernel_that_does_not_load_is_an_error(without):
    (without / "batchnorm" / "_kernel.py").write_text("raise ImportError('broken')")
    done = run(without)
    assert done.returncode == 1
    assert "does not load here (broken)" in done.stderr


def test_it_installs_without_a_compiler(tmp_path):
    if not os.environ.get("CI"):
        pytest.skip("CI installs it: that needs the package registry and a minute")
    ignored = shutil.ignore_patterns(".git", ".venv*", "build", "__pycache__", "*.so", "docs")
    shutil.copytree(ROOT, tmp_path / "p", ignore=ignored)
    target = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "-v", "install", "--no-deps", "--target", target]
    environment = {**os.environ, "CXX": "/nonexistent", "CC": "/nonexistent"}
    done = subprocess.run(
        [*command, tmp_path / "p"], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "no C++ compiler was found" in done.stdout + done.stderr
    assert not list((target / "batchnorm").glob("_kernel*.so"))
    assert run(target).stdout == "['reference']\n"
