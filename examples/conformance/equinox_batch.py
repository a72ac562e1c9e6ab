"""equinox.nn.BatchNorm(mode="batch") beside keras; a loaded state counts as many batches old.

`batchnorm conformance equinox_batch:Equinox --dialect keras`
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from common import KerasLike, dtypes, renamed

from batchnorm.conformance import NotOffered

jax.config.update("jax_enable_x64", True)
NAMES = {"axis": "axis", "momentum": "momentum", "epsilon": "eps", "center": "center",
         "scale": "scale", "dtype": "dtype"}  # fmt: skip
MANY = 2**20  # batches, after which a running statistic is no longer divided by 1 - momentum^count


class Equinox(KerasLike):
    def check(self, layer):
        given = renamed(layer.settings, NAMES, "Equinox")
        affine = {bool(given.pop(name, True)) for name in ("center", "scale")}
        if len(affine) > 1 or isinstance(given.get("axis"), list):
            raise NotOffered("Equinox has scale and shift together, and one axis")
        layer.axis = given.pop("axis", -1)
        if "dtype" in given:
            computed, given["dtype"] = dtypes(given["dtype"])
            if computed != given["dtype"]:
                raise NotOffered("Equinox has one dtype")
        else:
            given["dtype"] = "float32"
        layer.given = {**given, "channelwise_affine": affine.pop()}

    def make(self, layer, shape):
        layer.module, layer.own = eqx.nn.make_with_state(eqx.nn.BatchNorm)(
            shape[layer.axis], "batch", mode="batch", **layer.given
        )
        held = {"gamma": layer.module.weight, "beta": layer.module.bias}
        layer.parameters = {role: v for role, v in held.items() if v is not None}
        layer.statistics = self.averages(layer, layer.own)

    def averages(self, layer, state):
        """What inference normalizes by."""
        mean, var = state.get(layer.module.batch_state_index)
        count = state.get(layer.module.batch_counter)
        scale = jnp.where(count == 0, 1, 1 - layer.module.momentum**count)
        return {"moving_mean": (mean / scale).astype(mean.dtype),
                "moving_variance": (var / scale).astype(var.dtype)}  # fmt: skip

    def set_state(self, layer, state):
        super().set_state(layer, state)
        pair = tuple(layer.statistics[name] for name in ("moving_mean", "moving_variance"))
        layer.own = layer.own.set(layer.module.batch_state_index, pair)
        layer.own = layer.own.set(layer.module.batch_counter, jnp.array(MANY))

    def call(self, layer, x, parameters, training, mask=None):
        if mask is not None:
            raise NotOffered("Equinox has no mask")
        module = layer.module
        if parameters:
            pair = parameters["gamma"], parameters["beta"]
            module = eqx.tree_at(lambda m: (m.weight, m.bias), module, pair)
        axis = layer.axis % x.ndim
        if axis == 0:
            raise NotOffered("Equinox maps over the first axis")

        def one(sample):
            return module(sample, layer.own, inference=not training)

        moved = jnp.moveaxis(x, axis, 1)
        y, new = jax.vmap(one, axis_name="batch", out_axes=(0, None))(moved)
        if not isinstance(jax.tree.leaves(new)[0], jax.core.Tracer):
            layer.own = new
        return jnp.moveaxis(y, 1, axis), (self.averages(layer, new), new)

    def forward(self, layer, x, training, **call):
        y = super().forward(layer, x, training, **call)
        layer.statistics, layer.own = layer.statistics
        return y
