"""Run in a process of its own by test_read: `python reading_real_layers.py FRAMEWORK`.

Builds real layers, moves them, changes their settings, reads them, and lets both go on side by
side. An assertion that fails ends the process with its traceback.
"""

import importlib.util
import sys

import numpy as np

from batchnorm.read import read, read_layer

RANDOM = np.random.default_rng(0)


def close(ours, theirs, what, tolerance=2e-5):
    theirs = np.asarray(theirs, np.float64)
    scale = max(np.abs(theirs).max(initial=0), 1e-3)
    apart = np.abs(np.asarray(ours, np.float64) - theirs).max(initial=0)
    assert apart <= tolerance * scale, f"{what}: {apart} apart at scale {scale}"


def data(*shape):
    return (RANDOM.normal(size=shape) * 2 + 1).astype(np.float32)


def refuses(obj, words):
    said = "nothing"
    try:
        read(obj)
    except TypeError as error:
        said = str(error)
    assert words in said, f"{words!r} not in {said}"


def torch():
    import torch

    nn = torch.nn

    def values(layer):
        return {name: v.detach().float().numpy() for name, v in layer.state_dict().items()}

    def follow(layer, *shape):
        with torch.no_grad():
            layer(torch.from_numpy(data(*shape)))
            if layer.weight is not None:
                layer.weight.copy_(torch.from_numpy(data(3)))
        ours = read(layer)
        assert repr(ours) == repr(layer).replace("SyncBatchNorm", "BatchNorm2d"), repr(ours)
        for training in (layer.training, True, False):
            layer.train(training)
            ours.train(training)
            x = data(*shape)
            close(ours(x), layer(torch.from_numpy(x)).detach().numpy(), f"y of {layer}")
            for name, value in values(layer).items():
                close(ours.state[name], value, name)
        return ours

    follow(nn.BatchNorm1d(3, momentum=0.3), 8, 3)
    follow(nn.BatchNorm3d(3, bias=False), 4, 3, 2, 2, 2)
    follow(nn.BatchNorm2d(3, affine=False, momentum=None), 4, 3, 5, 5)
    follow(nn.BatchNorm2d(3, track_running_stats=False), 4, 3, 5, 5)
    follow(nn.LazyBatchNorm2d(), 4, 3, 5, 5)
    follow(nn.SyncBatchNorm(3), 4, 3, 5, 5)
    changed = nn.BatchNorm2d(3).eval()
    changed.eps, changed.momentum = 0.5, 0.25
    ours = follow(changed, 4, 3, 5, 5)
    assert (ours.eps, ours.momentum) == (0.5, 0.25)
    assert read(nn.BatchNorm2d(3).eval()).training is False
    assert read(nn.BatchNorm2d(3).double()).weight.dtype == np.float64
    assert read(nn.BatchNorm2d(3).bfloat16()).weight.dtype.name == "bfloat16"
    ours = read(layer := nn.BatchNorm2d(3))
    ours.running_mean[...] = 7
    assert layer.running_mean.sum() == 0, "read must copy"
    refuses(nn.LazyBatchNorm2d(), "after its first call")
    refuses(nn.InstanceNorm2d(3), "InstanceNorm2d")
    refuses(nn.Linear(3, 3), "torch.nn.modules.linear.Linear")

    class Own(nn.BatchNorm2d):
        def forward(self, x):
            return x

    refuses(Own(3), "forward of its own")
    refuses(nn.Sequential(nn.Linear(3, 3), Own(3)), "Own has a forward of its own (in __main__)")
    refuses(nn.Sequential(nn.LazyBatchNorm2d()), "0: a torch LazyBatchNorm2d")
    refuses(nn.Sequential(nn.Linear(3, 3)), "holds none")

    inner = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3, momentum=0.3))
    model = nn.Sequential(nn.BatchNorm1d(3, eps=0.5), inner, nn.ReLU())
    model(torch.from_numpy(data(8, 3)))
    found = read(model)
    assert list(found) == ["0", "1.1"]
    assert (found["0"].eps, found["1.1"].momentum) == (0.5, 0.3)
    for path, ours in found.items():
        close(ours.running_var, model.get_submodule(path).running_var.numpy(), path)
    assert str(refused(lambda: read_layer(model))).endswith("0, 1.1; give one of them")

    for frozen in frozen_layers(torch):
        for name, value in (("weight", 3), ("bias", 4), ("running_mean", 5), ("running_var", 6)):
            getattr(frozen, name).copy_(torch.from_numpy(np.abs(data(3)) + value))
        ours, x = read(frozen), data(4, 3, 5, 5)
        close(ours(x), frozen(torch.from_numpy(x)).numpy(), f"y of {type(frozen)}")
        assert list(read(nn.Sequential(nn.ReLU(), frozen))) == ["1"]
        assert ours.training is False
        assert ours.eps == getattr(frozen, "eps", 0.0)

    class FrozenNormAndReLU(frozen_classes(torch)["detectron2"]):
        def forward(self, x):
            return super().forward(x).relu()

    refuses(FrozenNormAndReLU(3), "doesn't compute (x - mean)")


def frozen_classes(torch):
    """The forms that frozen layers have in detectron2 and maskrcnn-benchmark, in short."""

    class WithEpsilon(torch.nn.Module):
        def __init__(self, num_features, eps=1e-5):
            super().__init__()
            self.num_features, self.eps = num_features, eps
            self.register_buffer("weight", torch.ones(num_features))
            self.register_buffer("bias", torch.zeros(num_features))
            self.register_buffer("running_mean", torch.zeros(num_features))
            self.register_buffer("running_var", torch.ones(num_features) - eps)
            self.register_buffer("num_batches_tracked", None)

        def forward(self, x):
            state = (self.running_mean, self.running_var, self.weight, self.bias)
            return torch.nn.functional.batch_norm(x, *state, training=False, eps=self.eps)

    class WithoutEpsilon(torch.nn.Module):
        def __init__(self, n):
            super().__init__()
            for name in ("weight", "bias", "running_mean", "running_var"):
                self.register_buffer(name, torch.ones(n))

        def forward(self, x):
            scale = self.weight * self.running_var.rsqrt()
            shift = self.bias - self.running_mean * scale
            return x * scale[:, None, None] + shift[:, None, None]

    WithEpsilon.__name__ = WithoutEpsilon.__name__ = "FrozenBatchNorm2d"
    return {"detectron2": WithEpsilon, "maskrcnn-benchmark": WithoutEpsilon}


def frozen_layers(torch):
    yield from (cls(3) for cls in frozen_classes(torch).values())
    if importlib.util.find_spec("torchvision") is not None:
        try:
            from torchvision.ops import FrozenBatchNorm2d
        except RuntimeError:  # its compiled part belongs to another build of torch
            return
        yield FrozenBatchNorm2d(3)
        yield FrozenBatchNorm2d(3, eps=0.1)


def refused(action):
    try:
        action()
    except TypeError as error:
        return error
    raise AssertionError("nothing was refused")


def mindspore():
    import contextlib

    import mindspore as ms
    from mindspore import nn

    ms.set_context(mode=ms.PYNATIVE_MODE, device_target="CPU")
    with contextlib.suppress(SystemError):  # the first operation under NumPy 2.4
        ms.Tensor(np.ones(1, np.float32)) + 1
    names = ("moving_mean", "moving_variance", "gamma", "beta")

    def follow(layer, *shape):
        inner = getattr(layer, "bn2d", layer)
        layer.set_train()
        layer(ms.Tensor(data(*shape)))
        inner.gamma.set_data(ms.Tensor(data(3)))
        ours = read(layer)
        for training in (True, False):
            layer.set_train(training)
            ours.set_train(training)
            x = data(*shape)
            close(ours(x), layer(ms.Tensor(x)).asnumpy(), f"y of {type(layer)}")
            for name in names:
                close(ours.state[name], getattr(inner, name).asnumpy(), name)
        return ours

    follow(nn.BatchNorm1d(3, momentum=0.7), 8, 3)
    follow(nn.BatchNorm3d(3, eps=0.25), 4, 3, 2, 2, 2)
    ours = follow(nn.BatchNorm2d(3, affine=False, use_batch_statistics=True), 4, 3, 5, 5)
    assert ours.affine is False
    assert ours.trainable_params() == []
    changed = nn.BatchNorm2d(3, eps=0.125, momentum=0.9997)
    changed.eps, changed.momentum = 0.5, 0.5  # MindSpore 2.10 ignores both
    ours = follow(changed, 4, 3, 5, 5)
    assert (ours.arguments()["eps"], ours.arguments()["momentum"]) == (0.125, 0.9997)
    for momentum in (0.9, 0.0003, 0.1, 0.99, 1.0, 0.0, 1 / 3):
        assert read(nn.BatchNorm2d(3, momentum=momentum)).arguments()["momentum"] == momentum
    assert read(nn.BatchNorm2d(3)).training is False
    assert read(nn.BatchNorm2d(3).set_train()).training is True
    refuses(nn.Dense(3, 3), "Dense")
    follow(nn.SyncBatchNorm(3, momentum=0.7), 4, 3, 5, 5)
    model = nn.SequentialCell(nn.BatchNorm1d(3), nn.SequentialCell(nn.BatchNorm3d(3), nn.ReLU()))
    assert list(read(model)) == ["0", "1.0"]
    assert type(read(model)["1.0"]).__name__ == "BatchNorm3d"
    refuses(nn.SequentialCell(nn.Dense(3, 3)), "holds none")


def keras2():
    import tf_keras

    follow_keras(tf_keras)
    layers = tf_keras.layers
    layer = layers.BatchNormalization(axis=[1, 3], momentum=0.5)
    layer(data(4, 2, 5, 3), training=True)
    assert list(read(layer).axis) == [1, 3]
    layer = layers.BatchNormalization(virtual_batch_size=2)
    layer(data(4, 5, 5, 3), training=True)
    ours, x = read(layer), data(4, 5, 5, 3)
    close(ours(x, training=True), layer(x, training=True).numpy(), "y of ghost batches")
    layer = layers.BatchNormalization(fused=False)
    assert read(layer).fused is False
    layer(data(4, 5, 5, 3))
    assert read(layer).fused is False
    assert read(layers.BatchNormalization(dtype="mixed_float16")).compute_dtype == "float16"


def keras3():
    import keras

    follow_keras(keras)
    assert read(keras.layers.BatchNormalization(dtype="mixed_float16")).compute_dtype == "float16"


def follow_keras(keras):
    layers = keras.layers

    def follow(layer, *shape):
        layer(data(*shape), training=True)
        if layer.gamma is not None:
            layer.gamma.assign(data(*layer.gamma.shape))
        ours = read(layer)
        assert ours.name == layer.name
        for training in (True, False):
            x = data(*shape)
            close(ours(x, training=training), np.asarray(layer(x, training=training)), layer.name)
            for name, value in ours.state.items():
                close(value, np.asarray(getattr(layer, name)), name)
        return ours

    follow(layers.BatchNormalization(), 4, 5, 5, 3)
    follow(layers.BatchNormalization(axis=1, momentum=0.5, epsilon=0.25), 4, 3, 5, 5)
    follow(layers.BatchNormalization(scale=False), 8, 3)
    follow(layers.BatchNormalization(renorm=True, renorm_clipping={"rmax": 2.0}), 8, 3)
    ours = follow(layers.BatchNormalization(gamma_regularizer=keras.regularizers.L2(0.5)), 8, 3)
    assert ours.gamma_regularizer.l2 == 0.5
    ours = follow(layers.BatchNormalization(trainable=False), 8, 3)
    assert ours.trainable is False
    changed = layers.BatchNormalization()
    changed.epsilon, changed.momentum = 0.5, 0.25
    ours = follow(changed, 4, 5, 5, 3)
    assert (ours.epsilon, ours.momentum) == (0.5, 0.25)
    unbuilt = read(layers.BatchNormalization(momentum=0.5))
    assert not unbuilt.built
    assert unbuilt.momentum == 0.5
    refuses(layers.Dense(3), "Dense")
    one, two = layers.BatchNormalization(name="one"), layers.BatchNormalization(name="two")
    part = keras.Sequential([layers.Dense(3), one], name="part")
    model = keras.Sequential([part, layers.TimeDistributed(two, name="each"), one])
    model(data(8, 5, 3))
    found = read(model)
    assert list(found) == ["part/one", "each/two"], list(found)  # a shared one once
    refuses(keras.Sequential([layers.Dense(3)]), "holds none")
    refuses(object(), "builtins.object")


if __name__ == "__main__":
    {"torch": torch, "mindspore": mindspore, "tf_keras": keras2, "keras": keras3}[sys.argv[1]]()
    for other in {"torch", "mindspore", "tensorflow"} - {sys.argv[1]}:
        if sys.argv[1] in ("torch", "mindspore"):
            assert other not in sys.modules, f"read imported {other}"
