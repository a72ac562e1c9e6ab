"""flax.nnx.BatchNorm beside keras: `batchnorm conformance flax_nnx:Nnx --dialect keras`."""

import jax
import jax.numpy as jnp
from common import KerasLike, dtypes, renamed
from flax import nnx
from flax_linen import NAMES, ROLES, STATISTICS

from batchnorm.conformance import NotOffered

jax.config.update("jax_enable_x64", True)


class Nnx(KerasLike):
    def check(self, layer):
        layer.given = renamed(layer.settings, NAMES, "Flax")
        if isinstance(layer.given.get("axis"), list):
            raise NotOffered("nnx.BatchNorm has one num_features, so one axis")
        if "dtype" in layer.given:
            layer.given["dtype"], layer.given["param_dtype"] = dtypes(layer.given["dtype"])

    def make(self, layer, shape):
        features = shape[layer.given.get("axis", -1)]
        layer.module = lambda: nnx.BatchNorm(features, **layer.given, rngs=nnx.Rngs(0))
        made = layer.module()
        held = {role: getattr(made, name) for name, role in ROLES.items()}
        layer.parameters = {role: v[...] for role, v in held.items() if v is not None}
        layer.statistics = {role: getattr(made, name)[...] for name, role in STATISTICS.items()}

    def call(self, layer, x, parameters, training, mask=None):
        module = layer.module()  # of this trace, which alone may write to it
        values = {**parameters, **layer.statistics}
        for name, role in {**ROLES, **STATISTICS}.items():
            if role in values:
                getattr(module, name)[...] = values[role]
        named = {"mask": jnp.asarray(mask)[..., None]} if mask is not None else {}
        y = module(x, use_running_average=not training, **named)
        return y, {role: getattr(module, name)[...] for name, role in STATISTICS.items()}
