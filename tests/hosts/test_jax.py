"""The JAX host, on four devices, in processes of its own: jax_cases.py, jax_kernel_cases.py."""

import pytest
from subprocesses import need, run_cases

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
