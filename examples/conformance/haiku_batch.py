"""haiku.BatchNorm beside keras; a loaded state counts as many batches old.

Haiku has no defaults for scale, shift and momentum; here it gets Keras' own.

`batchnorm conformance haiku_batch:Haiku --dialect keras`
"""

import haiku as hk
import jax
import jax.numpy as jnp
from common import KerasLike, renamed

from batchnorm.conformance import NotOffered

jax.config.update("jax_enable_x64", True)
NAMES = {"axis": "axis", "momentum": "decay_rate", "epsilon": "eps", "center": "create_offset",
         "scale": "create_scale"}  # fmt: skip
ROLES = {"scale": "gamma", "offset": "beta"}
STATISTICS = {"mean_ema": "moving_mean", "var_ema": "moving_variance"}
MANY = 2**20  # batches, after which an average is no longer divided by 1 - decay^count


class Haiku(KerasLike):
    def check(self, layer):
        given = renamed(layer.settings, NAMES, "Haiku")
        layer.axis = given.pop("axis", -1)
        if isinstance(layer.axis, list):
            raise NotOffered("Haiku's axes are those to average over")
        given = {"create_scale": True, "create_offset": True, "decay_rate": 0.99, **given}

        def run(x, training):
            others = [a for a in range(x.ndim) if a != layer.axis % x.ndim]
            return hk.BatchNorm(**given, axis=others, name="bn")(x, training)

        layer.module = hk.without_apply_rng(hk.transform_with_state(run))

    def make(self, layer, shape):
        x = jnp.zeros(shape, "float32")
        parameters, layer.own = layer.module.init(None, x, True)
        held = parameters.get("bn", {})
        layer.shapes = {ROLES[n]: held[n].shape for n in ("scale", "offset") if n in held}
        layer.parameters = {ROLES[n]: held[n].ravel() for n in ROLES if n in held}
        layer.own = jax.tree.map(jnp.zeros_like, layer.own)  # as before its first batch
        layer.statistics = self.averages(layer.own)

    def averages(self, own):
        return {role: own[f"bn/~/{name}"]["average"].ravel() for name, role in STATISTICS.items()}

    def set_state(self, layer, state):
        super().set_state(layer, state)
        for name, role in STATISTICS.items():
            held = layer.own[f"bn/~/{name}"]
            value = layer.statistics[role].reshape(held["average"].shape)
            held["average"] = held["hidden"] = value
            held["counter"] = jnp.full_like(held["counter"], MANY)

    def call(self, layer, x, parameters, training):
        own = {n: parameters[r].reshape(layer.shapes[r]) for n, r in ROLES.items()
               if r in parameters}  # fmt: skip
        y, new = layer.module.apply({"bn": own} if own else {}, layer.own, x, training)
        return y, new

    def forward(self, layer, x, training, **call):
        if call:
            raise NotOffered("Haiku has no mask")
        self.build(layer, x.shape)
        kept = layer.statistics
        y = super().forward(layer, x, training)
        layer.own = layer.statistics if training else layer.own
        layer.statistics = self.averages(layer.own) if training else kept
        return y
