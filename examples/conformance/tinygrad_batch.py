"""tinygrad.nn.BatchNorm beside torch.

`batchnorm conformance tinygrad_batch:Tinygrad --dialect torch`;
without clang run it on tinygrad's own interpreter: `DEV=PYTHON`.
"""

import numpy as np
from common import array_of, renamed
from tinygrad import Context, Tensor, dtypes, nn

NAMES = {"eps": "eps", "momentum": "momentum", "affine": "affine", "dtype": "dtype",
         "track_running_stats": "track_running_stats"}  # fmt: skip
ORDER = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def tensor(x):
    x = np.asarray(x)
    if x.dtype.name == "bfloat16":
        return Tensor(x.astype(np.float32)).cast(dtypes.bfloat16)
    return Tensor(np.ascontiguousarray(np.atleast_1d(x))).reshape(x.shape)


def array(t):
    is_bfloat16 = t.dtype == dtypes.bfloat16
    return array_of(t.float().numpy(), "bfloat16") if is_bfloat16 else t.numpy()


class Tinygrad:
    def construct(self, class_name, num_features, *args, **settings):
        given = renamed(settings, NAMES, "tinygrad")
        dtype = given.pop("dtype", None)
        layer = nn.BatchNorm(num_features, *args, **given)
        if dtype is not None:
            for name in ORDER[:4]:
                if getattr(layer, name, None) is not None:
                    own = getattr(layer, name).cast(getattr(dtypes, np.dtype(dtype).name))
                    setattr(layer, name, own.contiguous().realize())
        layer.training = True
        return layer

    def held(self, layer):
        names = ORDER if hasattr(layer, "running_mean") else ORDER[:2]
        found = {name: getattr(layer, name, None) for name in names}
        return {name: value for name, value in found.items() if value is not None}

    def state(self, layer):
        return {name: array(value) for name, value in self.held(layer).items()}

    def set_state(self, layer, state):
        for name, value in state.items():
            setattr(layer, name, tensor(value).realize())

    def forward(self, layer, x, training):
        layer.training = layer.training if training is None else bool(training)
        layer.x = tensor(x)
        with Context(TRAINING=int(layer.training)):
            layer.y = layer(layer.x)
            y = array(layer.y)
        for value in self.held(layer).values():
            value.realize()
        return y

    def backward(self, layer, dy):
        names = [n for n in ("weight", "bias") if getattr(layer, n) is not None]
        loss = (layer.y * tensor(dy)).sum()
        dx, *found = loss.gradient(layer.x, *(getattr(layer, n) for n in names))
        return array(dx), {n: array(g) for n, g in zip(names, found, strict=True)}

    def get(self, layer, name):
        return getattr(layer, name)

    def set(self, layer, name, value):
        setattr(layer, name, value)
