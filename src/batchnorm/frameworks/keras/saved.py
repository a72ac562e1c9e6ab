"""How Keras's files name things beside a model's layers; both Keras dialects have this in common.

Facts: keras 3.15 and tf_keras 2.21, files of both (tests/data/checkpoints). Layers have names of
their own, so nothing wraps them, and a `.keras` file keeps other objects in groups of their own.
"""

from __future__ import annotations

from typing import Any

from batchnorm.frameworks.keras.layer import KerasLayer

__all__ = ["AFFINE", "CHANNELS_LAST", "FORMS", "SEPARATOR", "SIGNS", "STATE", "doubt"]

# Names of a batch norm's state, and the role of each.
STATE = {name: entry.role for name, entry in KerasLayer.STATE.items()}
# What a class says of its kernel.
FORMS = {
    "Dense": "dense",
    "Embedding": "embedding",
    **{f"Conv{n}D": "conv" for n in (1, 2, 3)},
    **{f"Conv{n}DTranspose": "conv_transpose" for n in (1, 2, 3)},
    **{f"DepthwiseConv{n}D": "depthwise" for n in (1, 2)},
}

SEPARATOR = "/"  # between a layer's name and its array's
CHANNELS_LAST = True  # kernels have their outputs last
AFFINE = {"gamma": "gamma", "beta": "beta"}  # of normalizations without statistics
# Ends of names that only these files have, and names of a layer alone.
SIGNS = ("/moving_mean", "/moving_variance", "/kernel", "/depthwise_kernel", "/embeddings")


def doubt(layer: Any, channels_last: bool) -> str:
    """What the arrays of a layer (`convert.groups.Group`) may be of, where names don't tell.

    `channels_last` says whether the target's kernels have their outputs last.
    """
    if channels_last:  # all names stay
        return ""
    if layer.kind == "single":
        owner = f"a {layer.class_name}" if layer.class_name else "a layer that is not known here"
        return f"an array of {owner}, carried as it is"
    if layer.kind != "kernel" or layer.part:
        return ""
    if layer.class_name and not layer.form:
        return f"the kernel of a {layer.class_name}, transposed as a convolution's would be"
    shape = layer.members["weight"].shape
    if not layer.form and len(shape) > 2 and shape[-1] == 1 != shape[-2]:
        return "Conv2D with one output, or DepthwiseConv2D"
    return ""
