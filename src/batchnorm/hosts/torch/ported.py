"""One of torch's own modules that follows another dialect's rule, as that dialect's layer: `read`.

Not here: the dialect's rule (its `decide`), and torch's own layers (`frameworks/torch/live.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchnorm.frameworks import find
from batchnorm.frameworks.torch.calls import RANKS
from batchnorm.hosts.made import made
from batchnorm.hosts.torch import another
from batchnorm.layer import Layer
from batchnorm.vocabulary import Array

__all__ = ["rank_of", "read"]


def rank_of(module: Any) -> int:
    """The rank that torch's class of a module names; BatchNorm1d 2, a SyncBatchNorm 4."""
    names = (c.__name__ for c in type(module).__mro__ if c.__name__ in RANKS)
    return RANKS[next(names, "BatchNorm2d")]


def read(obj: Any, arrays: Mapping[str, Array | None]) -> Layer:
    """The dialect's layer with the module's settings, state and mode.

    `arrays` are its tensors by torch's names. A Keras layer has the channels in axis 1, and is
    built for the rank that torch's class names; that of BatchNorm1d for 2, a SyncBatchNorm's for 4.

    Raises:
        TypeError: the dialect's layers don't have state of this type.
        ValueError: momentum=None.
    """
    another.check(obj)
    weight, mean = obj.weight, arrays["running_mean"]
    layer = made(
        find(obj.semantics),
        rank_of(obj),
        obj.num_features,
        float(obj.eps),
        float(obj.momentum),
        gamma=weight is not None,
        beta=arrays["bias"] is not None,
        trained=weight is not None and bool(weight.requires_grad),
        trainable=another.learns(obj),
        dtype="float32" if mean is None else mean.dtype.name,
    )
    roles = {layer.STATE[own].role: own for own in layer.state}
    state = layer.state
    for role, name in NAMES.items():
        value = arrays[name]
        if value is not None:
            state[roles[role]] = value
    layer.load_state(state)
    if hasattr(layer, "training"):
        layer.training = bool(obj.training)
    return layer


NAMES = {"gamma": "weight", "beta": "bias"} | {r: r for r in ("running_mean", "running_var")}
"""Role -> torch's name."""
