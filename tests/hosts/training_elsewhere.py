"""A small net trained in a framework of its own process, for test_continuation.py.

    python training_elsewhere.py FRAMEWORK GIVEN.npz FOUND.npz

It trains from the given weights, then goes on from there twice: with the given batches, and with
each value of theirs moved by one unit in the last place. Weights travel in torch's layouts.
"""

import contextlib
import os
import sys

import numpy as np

RATE, FIRST = 0.05, 50


def keras_steps(keras, weights):
    """A function that trains on batches and gives the weights."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    layers, bn = keras.layers, {"momentum": 0.9, "epsilon": 1e-3}
    model = keras.Sequential(
        [
            layers.Input((6, 6, 3)),
            layers.Conv2D(5, 3, use_bias=False),
            layers.BatchNormalization(**bn),
            layers.ReLU(),
            layers.GlobalAveragePooling2D(),
            layers.BatchNormalization(**bn),
            layers.Dense(2, use_bias=False),
        ]
    )
    conv, norm1, norm2, dense = (layer for layer in model.layers if layer.weights)

    def load(weights):
        conv.set_weights([weights["conv"].transpose(2, 3, 1, 0)])
        dense.set_weights([weights["dense"].T])
        for name, norm in (("bn1", norm1), ("bn2", norm2)):
            norm.set_weights([weights[f"{name}.{key}"] for key in STATE])

    def save():
        found = {"conv": conv.get_weights()[0].transpose(3, 2, 0, 1)}
        found["dense"] = dense.get_weights()[0].T
        for name, norm in (("bn1", norm1), ("bn2", norm2)):
            found |= dict(zip([f"{name}.{key}" for key in STATE], norm.get_weights(), strict=True))
        return found

    def train(weights, batches, targets):
        load(weights)
        for x, target in zip(batches, targets, strict=True):
            with tf.GradientTape() as tape:
                y = model(tf.constant(x.transpose(0, 2, 3, 1)), training=True)
                loss = tf.reduce_mean(tf.square(y - target))
            variables = [getattr(v, "value", v) for v in model.trainable_variables]
            if not hasattr(variables[0], "assign_sub"):  # Keras 2's `value` is a method
                variables = model.trainable_variables
            for variable, slope in zip(variables, tape.gradient(loss, variables), strict=True):
                variable.assign_sub(RATE * slope)
        return save()

    return train


STATE = ("gamma", "beta", "mean", "var")


def mindspore_steps(weights):
    import mindspore as ms
    from mindspore import nn, ops

    ms.set_context(mode=ms.PYNATIVE_MODE, device_target="CPU")
    with contextlib.suppress(SystemError):  # the first operation under NumPy 2.4
        ms.Tensor(np.ones(1, np.float32)) + 1

    class Net(nn.Cell):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 5, 3, pad_mode="valid", has_bias=False)
            self.bn1 = nn.BatchNorm2d(5, eps=1e-3, momentum=0.9)
            self.bn2 = nn.BatchNorm1d(5, eps=1e-3, momentum=0.9)
            self.dense = nn.Dense(5, 2, has_bias=False)

        def construct(self, x):
            x = ops.relu(self.bn1(self.conv(x)))
            return self.dense(self.bn2(x.mean(axis=(2, 3))))

    net = Net().set_train()
    own = {"conv": net.conv.weight, "dense": net.dense.weight}
    for name in ("bn1", "bn2"):
        norm = getattr(net, name)
        parts = (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)
        own |= {f"{name}.{key}": part for key, part in zip(STATE, parts, strict=True)}

    def loss(x, target):
        return ((net(x) - target) ** 2).mean()

    trained = net.trainable_params()
    slopes = ms.value_and_grad(loss, None, trained)

    def train(weights, batches, targets):
        for name, parameter in own.items():
            parameter.set_data(ms.Tensor(weights[name]))
        for x, target in zip(batches, targets, strict=True):
            _, found = slopes(ms.Tensor(x), ms.Tensor(target))
            for parameter, slope in zip(trained, found, strict=True):
                parameter.set_data(parameter - RATE * slope)
        return {name: np.array(parameter.asnumpy()) for name, parameter in own.items()}

    return train


def torch_steps():
    import torch
    import torch_net

    net = torch_net.Net()

    def train(weights, batches, targets):
        return torch_net.trained(net, weights, batches, targets)

    torch.set_num_threads(1)
    return train


def main(framework, given, found):
    arrays = dict(np.load(given))
    batches, targets = arrays.pop("batches"), arrays.pop("targets")
    if framework == "mindspore":
        train = mindspore_steps(arrays)
    elif framework == "torch":
        train = torch_steps()
    else:
        os.environ["KERAS_BACKEND"] = "tensorflow"
        train = keras_steps(__import__(framework), arrays)
    middle = train(arrays, batches[:FIRST], targets[:FIRST])
    rest = (batches[FIRST:], targets[FIRST:])
    nudged = np.nextafter(rest[0], np.float32(np.inf))
    results = {
        "middle": middle,
        "end": train(middle, *rest),
        "nudged": train(middle, nudged, rest[1]),
    }
    flat = {f"{when}/{k}": v for when, values in results.items() for k, v in values.items()}
    np.savez(found, **flat)


if __name__ == "__main__":
    main(*sys.argv[1:])
