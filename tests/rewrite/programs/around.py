"""What the programs share: arrays in, one training step, numbers out, in whatever framework.

Not here: batch norms. The programs hold those, and are rewritten; this file isn't.
"""

import contextlib
import json
import os
import sys

import numpy as np

SHAPE = (4, 3, 5, 5)


def data(seed):
    random = np.random.default_rng(seed)
    scale = np.array([1.0, 0.3, 4.0]).reshape(1, 3, 1, 1)
    x = random.normal(scale - 0.5, scale, SHAPE).astype(np.float32)
    dy = random.normal(size=SHAPE).astype(np.float32)
    if "NUDGED" in os.environ:  # each number to the next one above or below
        x, dy = (np.nextafter(v, random.choice([-np.inf, np.inf], SHAPE).astype(np.float32))
                 for v in (x, dy))  # fmt: skip
    return x, dy


def package(layer):
    for base in type(layer).__mro__:
        name = base.__module__.partition(".")[0]
        if name in ("torch", "mindspore", "tf_keras", "keras"):
            return name
    raise AssertionError(f"{type(layer)} is of no framework")


def array(value):
    if hasattr(value, "detach"):
        value = value.detach()
    if hasattr(value, "asnumpy"):
        return value.asnumpy()
    return np.array(value)


def step(layer, call, x, dy, parameters, rate=0.1):
    """Forward, backward, and one step of gradient descent; gives y, dx and the gradients."""
    return globals()[f"_{package(layer)}"](call, x, dy, parameters, rate)


def _torch(call, x, dy, parameters, rate):
    import torch

    given = torch.tensor(x, requires_grad=True)
    y = call(given)
    found = torch.autograd.grad(y, [given, *parameters()], torch.tensor(dy))
    with torch.no_grad():
        for parameter, gradient in zip(parameters(), found[1:], strict=True):
            parameter -= rate * gradient
    return [y, *found]


def _mindspore(call, x, dy, parameters, rate):
    import mindspore

    # Under NumPy 2.4 the first eager operation of a process can raise SystemError, once.
    with contextlib.suppress(SystemError):
        mindspore.Tensor(np.ones(1, np.float32)) + 1
    weights = mindspore.ParameterTuple(parameters())
    sensitivity = mindspore.Tensor(dy)

    def loss(given):
        y = call(given)
        return (y * sensitivity).sum(), y

    gradients = mindspore.value_and_grad(loss, 0, weights, has_aux=True)
    (_, y), (dx, others) = gradients(mindspore.Tensor(x))
    for weight, gradient in zip(weights, others, strict=True):
        weight.set_data(mindspore.Tensor(weight.asnumpy() - rate * gradient.asnumpy()))
    return [y, dx, *others]


def _tensorflow(call, x, dy, parameters, rate):
    import tensorflow as tf

    given = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(given)
        y = call(given)
    variables = [getattr(variable, "_value", variable) for variable in parameters()]
    found = tape.gradient(y, [given, *variables], tf.constant(dy))
    for variable, gradient in zip(parameters(), found[1:], strict=True):
        variable.assign_sub(rate * gradient)
    return [y, *found]


_tf_keras = _keras = _tensorflow


def shown(layer, x):
    """Data for the inference of a layer, in its framework's tensors."""
    name = package(layer)
    if name == "torch":
        import torch

        return torch.tensor(x)
    if name == "mindspore":
        import mindspore

        return mindspore.Tensor(x)
    return x


RESULTS = {}


def note(key, *values):
    """Keep numbers for the end."""
    RESULTS[key] = [np.asarray(array(value), np.float64).tolist() for value in values]


def done():
    json.dump(RESULTS, sys.stdout)
