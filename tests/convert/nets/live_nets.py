"""A live model of each framework, read, compared and converted: `python FILE FRAMEWORK FOLDER`."""

import importlib
import os
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import numpy as np

import batchnorm as bn

random = np.random.default_rng(0)
# What each is built with means one thing: epsilon 0.002, a weight of 0.25 for the new batch.
WANTED = {"eps": 0.002, "momentum": 0.25}


def torch_net():
    import torch

    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4, 0.002, 0.25), torch.nn.Linear(4, 2)
    )
    for value in net.state_dict().values():
        if value.ndim:
            value.copy_(torch.from_numpy(drawn(value.shape)))

    def double():
        net[1].weight.data.mul_(2)

    return net, lambda path: torch.save(net.state_dict(), path), ".pth", double


def mindspore_net():
    import mindspore as ms
    from mindspore import nn

    net = nn.SequentialCell(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, eps=0.002, momentum=0.75), nn.Dense(4, 2)
    )
    for _, p in net.parameters_and_names():
        p.set_data(ms.Tensor(drawn(p.shape)))

    def double():
        net[1].gamma.set_data(ms.Tensor(2 * net[1].gamma.asnumpy()))

    return net, lambda path: ms.save_checkpoint(net, str(path)), ".ckpt", double


def keras_net(family):
    keras = importlib.import_module(family)
    layers = keras.layers
    start = keras.Input((8, 8, 3))
    inner = keras.Sequential([keras.Input((6, 6, 4)), layers.Dense(2, name="fc")], name="inner")
    norm = layers.BatchNormalization(epsilon=0.002, momentum=0.75, name="norm")
    x = norm(layers.Conv2D(4, 3, name="conv")(start))
    net = keras.Model(start, inner(layers.SeparableConv2D(4, 1, name="sep")(x)))
    net.set_weights([drawn(value.shape) for value in net.get_weights()])

    def double():
        norm.gamma.assign(norm.gamma * 2)

    return net, net.save, ".keras", double


def drawn(shape):
    return random.uniform(0.5, 2, tuple(shape)).astype(np.float32)


def main(framework, folder):
    kinds = {"torch": torch_net, "mindspore": mindspore_net}
    made = kinds[framework]() if framework in kinds else keras_net(framework)
    net, save, suffix, double = made
    path = folder / f"own{suffix}"
    save(path)
    found = bn.compare(net, path)
    assert not found.differences, found.differences
    assert found.equal >= (7 if framework == "mindspore" else 8)  # its Conv2d has no bias
    inspected = bn.inspect(net)
    assert len(inspected.layers) == 1
    assert inspected.framework == framework
    other = folder / ("other.ckpt" if framework == "torch" else "other.pth")
    done = bn.convert(net, other)
    assert done.report.exit_code == 0, done.report.as_json()
    said = next(iter(done.report.settings.values()))
    told = {**WANTED, "momentum": 0.75} if framework == "torch" else WANTED
    assert said == told, said
    assert not bn.compare(net, other).differences
    layer = next(iter(done.report.settings))
    mode = bn.read(net[1] if framework in kinds else net.get_layer("norm"))
    assert framework == mode.FRAMEWORK
    double()
    for file in (path, other):
        changed = bn.compare(net, file).differences
        assert [d.role for d in changed] == ["gamma"], changed
        assert changed[0].layer == layer
        assert bn.compare(file, net).differences[0].role == "gamma"


def several_of_a_name(family, folder):
    """An attention layer has four kernels; none hides another."""
    keras = importlib.import_module(family)
    start = keras.Input((4, 6))
    inner = keras.layers.MultiHeadAttention(2, 3, name="mha")(start, start)
    net = keras.Model(start, keras.layers.BatchNormalization(name="norm")(inner))
    net.set_weights([drawn(value.shape) for value in net.get_weights()])
    net.save(folder / "attention.h5")
    found = bn.compare(net, folder / "attention.h5")
    assert not found.differences, found.differences
    assert found.equal == len(net.weights)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
    if "keras" in sys.argv[1]:
        several_of_a_name(sys.argv[1], Path(sys.argv[2]))
