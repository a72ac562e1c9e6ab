"""How Keras's files name things beside a model's layers; both Keras dialects have this in common.

Facts: keras 3.15 and tf_keras 2.21, files of both (tests/data/checkpoints). Layers have names of
their own, so nothing wraps them, and a `.keras` file keeps other objects in groups of their own.
"""

from __future__ import annotations

from typing import Any

from batchnorm.frameworks.keras.layer import KerasLayer

__all__ = [
    "AFFINE",
    "ALONE",
    "BARE",
    "CHANNELS_LAST",
    "COUNTERS",
    "COUNTLESS",
    "CUMULATIVE",
    "FORMS",
    "INNER",
    "KEPT",
    "OBSERVERS",
    "OPTIMIZER",
    "OUTER",
    "PAIRED",
    "SCALARS",
    "SEPARATOR",
    "SIGNS",
    "SLOTS",
    "STATE",
    "WIDE",
    "WRAPPERS",
    "doubt",
]

# Names of a batch norm's state, and the role of each.
STATE = {name: entry.role for name, entry in KerasLayer.STATE.items()}
WRAPPERS: tuple[str, ...] = ()
OUTER: tuple[str, ...] = ()
COUNTERS: tuple[str, ...] = ()
OBSERVERS: tuple[str, ...] = ()
OPTIMIZER = ("optimizer", "optimizer_weights", "metrics", "loss")
SLOTS: tuple[str, ...] = ()
# What a class says of its kernel.
FORMS = {
    "Dense": "dense",
    "Embedding": "embedding",
    **{f"Conv{n}D": "conv" for n in (1, 2, 3)},
    **{f"Conv{n}DTranspose": "conv_transpose" for n in (1, 2, 3)},
    **{f"DepthwiseConv{n}D": "depthwise" for n in (1, 2)},
}
COUNTLESS: tuple[str, ...] = ()

SEPARATOR = "/"  # between a layer's name and its array's
CHANNELS_LAST = True  # kernels have their outputs last
BARE: dict[str, str] = {}  # other names, of a layer that is saved alone
INNER = ""  # the layer inside a batch norm that holds its state
AFFINE = {"gamma": "gamma", "beta": "beta"}  # of normalizations without statistics
# Roles that a file always has: none.
KEPT: tuple[str, ...] = ()
PAIRED = False
WIDE = False  # whether kernels of one-dimensional convolutions have a height of 1
SCALARS = False  # whether arrays of shape () at the top are a trainer's numbers
CUMULATIVE = False  # whether momentum None is the average over all batches
# Ends of names that only these files have, and names of a layer alone.
SIGNS = ("/moving_mean", "/moving_variance", "/kernel", "/depthwise_kernel", "/embeddings")
ALONE: frozenset[str] = frozenset()


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
