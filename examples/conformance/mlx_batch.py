"""mlx.nn.BatchNorm beside torch; it keeps channels last, which the adapter moves.

`batchnorm conformance mlx_batch:Mlx --dialect torch`
"""

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from common import array_of, renamed

mx.set_default_device(mx.cpu)
NAMES = {"num_features": "num_features", "eps": "eps", "momentum": "momentum", "affine": "affine",
         "track_running_stats": "track_running_stats", "dtype": "dtype"}  # fmt: skip
ORDER = ("weight", "bias", "running_mean", "running_var")


def tensor(x):
    x = np.ascontiguousarray(x)
    if x.dtype.name == "bfloat16":
        return mx.array(x.astype(np.float32)).astype(mx.bfloat16)
    return mx.array(x, dtype=mx.float64) if x.dtype == np.float64 else mx.array(x)


def array(t):
    return array_of(t.astype(mx.float32), "bfloat16") if t.dtype == mx.bfloat16 else np.array(t)


class Mlx:
    without = ("num_batches_tracked",)

    def construct(self, class_name, num_features, *args, **settings):
        given = renamed(settings, NAMES, "MLX")
        dtype = given.pop("dtype", None)
        layer = nn.BatchNorm(num_features, *args, **given)
        if dtype is not None:
            layer.set_dtype(getattr(mx, np.dtype(dtype).name))
        return layer

    def state(self, layer):
        return {name: array(layer[name]) for name in ORDER if name in layer}

    def set_state(self, layer, state):
        for name, value in state.items():
            layer[name] = tensor(value)

    def forward(self, layer, x, training):
        if training is not None:
            layer.train(bool(training))
        own = [name for name in ("weight", "bias") if name in layer]
        statistics = {n: layer[n] for n in ORDER[2:] if n in layer}

        def run(x, *parameters):
            layer.update({**dict(zip(own, parameters, strict=True)), **statistics})
            return mx.moveaxis(layer(mx.moveaxis(x, 1, -1)), -1, 1)

        layer.vjp = run, [tensor(x), *(layer[name] for name in own)], own
        y = array(run(*layer.vjp[1]))
        layer.kept = {n: layer[n] for n in statistics}
        return y

    def backward(self, layer, dy):
        run, given, own = layer.vjp
        _, found = mx.vjp(run, given, [tensor(dy)])
        dx, *gradients = map(array, found)
        layer.update({**layer.kept, **dict(zip(own, given[1:], strict=True))})
        return dx, dict(zip(own, gradients, strict=True))

    def get(self, layer, name):
        return getattr(layer, name)

    def set(self, layer, name, value):
        setattr(layer, name, value)
