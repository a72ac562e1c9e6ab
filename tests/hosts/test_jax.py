"""The JAX host, on four devices, in a process of its own: jax_cases.py."""

from subprocesses import need, run_cases


def test_every_dialect_computes_in_jax_as_its_numpy_layer():
    need("jax")
    devices = "--xla_force_host_platform_device_count=4"
    run_cases("jax_cases.py", XLA_FLAGS=devices, JAX_PLATFORMS="cpu")
