"""Faults put into a net before its port is built, and what must be said of each."""

from __future__ import annotations

import numpy as np

SOURCES_BATCH = "the batch"


def of(net, layer, **options):
    net.options(layer).update(options)
    return layer


def own(net, layer, **values):
    net.parameters[layer].update({k: np.float32(v) for k, v in values.items()})
    return layer


def momentum_inverted(net, layer):
    return "momentum-inverted", of(net, layer, factor=0.9)


def momentum_differs(net, layer):
    return "momentum-differs", of(net, layer, factor=0.01)


def epsilon_differs(net, layer):
    return "epsilon-differs", of(net, layer, epsilon=1e-3)


def statistics_not_loaded(net, layer):
    size = len(net.parameters[layer]["running_mean"])
    return "statistics-not-loaded", own(
        net, layer, running_mean=np.zeros(size), running_var=np.ones(size)
    )


def affine_not_loaded(net, layer):
    size = len(net.parameters[layer]["gamma"])
    return "affine-not-loaded", own(net, layer, gamma=np.ones(size), beta=np.zeros(size))


def mean_variance_swapped(net, layer):
    values = net.parameters[layer]
    return "mean-variance-swapped", own(
        net, layer, running_mean=values["running_var"], running_var=values["running_mean"]
    )


def gamma_beta_swapped(net, layer):
    values = net.parameters[layer]
    return "gamma-beta-swapped", own(net, layer, gamma=values["beta"], beta=values["gamma"])


def variance_shifted(net, layer):
    values = net.parameters[layer]
    return "variance-shifted", own(net, layer, running_var=values["running_var"] + 1e-3)


def variance_is_std(net, layer):
    values = net.parameters[layer]
    return "variance-is-std", own(net, layer, running_var=np.sqrt(values["running_var"]))


def channels_permuted(net, layer):
    values = net.parameters[layer]
    order = np.random.default_rng(0).permutation(len(values["gamma"]))
    return "channels-permuted", own(net, layer, **{k: v[order] for k, v in values.items()})


def padding_differs(net, layer):
    return "padding-differs", of(net, layer, padding="same")


def kernel_not_loaded(net, layer):
    values = net.parameters[layer]
    drawn = np.random.default_rng(9).normal(0, 0.2, values["kernel"].shape)
    return "kernel-not-loaded", own(net, layer, kernel=drawn)


def kernel_transposed(net, layer):
    return "kernel-transposed", own(
        net, layer, kernel=net.parameters[layer]["kernel"].swapaxes(2, 3)
    )


def bias_differs(net, layer):
    return "bias-differs", own(net, layer, bias=np.zeros_like(net.parameters[layer]["bias"]))


def activation_differs(net, layer, function="silu"):
    of(net, layer, function=function)
    return "activation-differs", user_of(net, layer)


def user_of(net, name):
    """The first watched layer that a value reaches."""
    for other, kind, inputs, _ in net.operations:
        if name in inputs:
            return other if kind in ("conv", "bn", "dense") else user_of(net, other)
    raise AssertionError(name)


def before_first(net, kind, **options):
    """A step between the batch and what takes it."""
    net.operations = [
        (n, k, tuple("prepared" if i == "input" else i for i in inputs), o)
        for n, k, inputs, o in net.operations
    ]
    net.operations.insert(0, ("prepared", kind, ("input",), options))
    net.channels["prepared"] = net.channels["input"]
    return next(n for n, _, inputs, _ in net.operations if "prepared" in inputs)


def scale_differs(net, layer=None):
    return "scale-differs", before_first(net, "affine", scale=1 / 255)


def channel_order(net, layer=None):
    return "channel-order", before_first(net, "reverse")


def wrong_layer(net, layer):
    """Twins exchanged: the next batch norm of the same size."""
    size = len(net.parameters[layer]["gamma"])
    twin = next(n for n in net.norms() if n != layer and len(net.parameters[n]["gamma"]) == size)
    values = net.parameters
    values[layer], values[twin] = values[twin], values[layer]
    return "wrong-layer", layer, twin
