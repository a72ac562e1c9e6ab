"""Any dialect's layer in JAX: pure functions for jit, grad, vmap, pmap and shard_map.

`init` gives a layer's values as JAX arrays, `apply` computes with them. Written for and tested with
JAX 0.10.2.
"""

from batchnorm.hosts.jax.layer import apply, init

__all__ = ["apply", "init"]
