"""flax.linen.BatchNorm beside keras: `batchnorm conformance flax_linen:Linen --dialect keras`."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from common import KerasLike, dtypes, renamed

jax.config.update("jax_enable_x64", True)
NAMES = {"axis": "axis", "momentum": "momentum", "epsilon": "epsilon", "center": "use_bias",
         "scale": "use_scale", "dtype": "dtype"}  # fmt: skip
ROLES = {"scale": "gamma", "bias": "beta"}
STATISTICS = {"mean": "moving_mean", "var": "moving_variance"}


class Linen(KerasLike):
    def check(self, layer):
        settings = renamed(layer.settings, NAMES, "Flax")
        if "dtype" in settings:
            settings["dtype"], settings["param_dtype"] = dtypes(settings["dtype"])
        layer.module = nn.BatchNorm(**settings)

    def make(self, layer, shape):
        x = jnp.zeros(shape, layer.module.dtype or "float32")
        made = layer.module.init(jax.random.key(0), x, use_running_average=True)
        own = made.get("params", {})
        layer.parameters = {ROLES[n]: own[n] for n in ("scale", "bias") if n in own}
        layer.statistics = {STATISTICS[n]: made["batch_stats"][n] for n in ("mean", "var")}

    def call(self, layer, x, parameters, training, mask=None):
        stored = {name: layer.statistics[role] for name, role in STATISTICS.items()}
        own = {name: parameters[role] for name, role in ROLES.items() if role in parameters}
        named = {"mask": jnp.asarray(mask)[..., None]} if mask is not None else {}
        y, new = layer.module.apply(
            {"params": own, "batch_stats": stored}, x, use_running_average=not training,
            mutable=["batch_stats"], **named,
        )  # fmt: skip
        return y, {role: new["batch_stats"][name] for name, role in STATISTICS.items()}
