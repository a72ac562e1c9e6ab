"""paddle.nn.BatchNorm1D, 2D and 3D beside mindspore.

`batchnorm conformance paddle_batch:Paddle --dialect mindspore`
"""

import numpy as np
import paddle
from common import array_of, renamed

from batchnorm.conformance import NotOffered

NAMES = {"eps": "epsilon", "momentum": "momentum", "affine": "affine", "dtype": "dtype",
         "use_batch_statistics": "use_batch_statistics", "data_format": "data_format"}  # fmt: skip
HELD = {"moving_mean": "_mean", "moving_variance": "_variance", "gamma": "weight", "beta": "bias"}
INITIAL = {"gamma_init": "gamma", "beta_init": "beta", "moving_mean_init": "moving_mean",
           "moving_var_init": "moving_variance"}  # fmt: skip


def tensor(x):
    x = np.ascontiguousarray(x)
    if x.dtype.name == "bfloat16":
        return paddle.to_tensor(x.astype(np.float32)).astype("bfloat16")
    return paddle.to_tensor(x)


def array(t):
    if t.dtype == paddle.bfloat16:
        return array_of(t.astype("float32").numpy(), "bfloat16")
    return t.numpy()


class Paddle:
    without = ("gamma", "beta")  # with affine=False, where MindSpore has them

    def construct(self, class_name, num_features, *args, **settings):
        initial = {INITIAL[n]: settings.pop(n) for n in list(settings) if n in INITIAL}
        given = renamed(settings, NAMES, "Paddle")
        if args:
            raise NotOffered("Paddle's order of arguments is another")
        if given.pop("dtype", None) not in (None, np.dtype("float32")):
            raise NotOffered("Paddle's layer takes the default dtype")
        if not given.pop("affine", True):
            given["weight_attr"] = given["bias_attr"] = False
        batch = given.pop("use_batch_statistics", None)
        given["use_global_stats"] = None if batch is None else not batch
        layer = getattr(paddle.nn, class_name.upper().replace("BATCHNORM", "BatchNorm"))(
            num_features, **given
        )
        layer.eval()  # as a new layer of MindSpore's is
        values = {"zeros": 0.0, "ones": 1.0}
        state = self.state(layer)
        changed = {n: np.broadcast_to(np.float32(values.get(str(v), v)), state[n].shape)
                   for n, v in initial.items() if n in state}  # fmt: skip
        self.set_state(layer, changed)
        return layer

    def state(self, layer):
        found = {name: getattr(layer, own) for name, own in HELD.items()}
        return {name: array(value) for name, value in found.items() if value is not None}

    def set_state(self, layer, state):
        for name, value in state.items():
            getattr(layer, HELD[name]).set_value(tensor(value))

    def forward(self, layer, x, training):
        if training is not None:
            layer.train() if training else layer.eval()
        layer.x = tensor(x)
        layer.x.stop_gradient = False
        layer.y = layer(layer.x)
        return array(layer.y)

    def backward(self, layer, dy):
        layer.clear_gradients()
        layer.y.backward(tensor(dy))
        grads = {n: getattr(layer, HELD[n]) for n in ("gamma", "beta")}
        held = {n: p.grad for n, p in grads.items() if p is not None and p.grad is not None}
        return array(layer.x.grad), {name: array(value) for name, value in held.items()}
