"""The JAX host, on four devices, in processes of its own: jax_cases.py, jax_kernel_cases.py."""

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from subprocesses import need, run_cases

HERE = Path(__file__).parent
DEVICES = "--xla_force_host_platform_device_count=4"


@pytest.mark.parametrize("kernel", [None, "reference"])
def test_every_dialect_computes_in_jax_as_its_numpy_layer(kernel):
    """With our kernel on the CPU, and in plain jnp."""
    need("jax")
    chosen = {} if kernel is None else {"BATCHNORM_KERNEL": kernel}
    run_cases("jax_cases.py", XLA_FLAGS=DEVICES, JAX_PLATFORMS="cpu", **chosen)


def test_the_kernel_in_jax_keeps_all_that_jax_does():
    need("jax")
    run_cases("jax_kernel_cases.py", XLA_FLAGS=DEVICES, JAX_PLATFORMS="cpu")


def test_the_interface_declared_for_xla_is_jaxlibs():
    need("jaxlib")
    compiler = os.environ.get("CXX") or shutil.which("c++")
    if compiler is None and not os.environ.get("CI"):
        pytest.skip("no C++ compiler")
    jaxlib = Path(importlib.util.find_spec("jaxlib").origin).parent
    command = f"{compiler} -std=c++17 -fsyntax-only"
    folders = [f"-I{jaxlib / 'include'}", f"-I{HERE.parents[1] / 'src' / 'kernel'}"]
    done = subprocess.run(
        [*command.split(), *folders, str(HERE / "xla_interface.cpp")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
