"""A torch batch norm that `batchnorm.hosts.torch.port` gave another dialect's rule, as its layer.

Not here: that rule, which is the dialect's, and torch's own layers (`frameworks/torch/live.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchnorm.errors import InvalidType, InvalidValue
from batchnorm.frameworks.keras.layer import KerasLayer
from batchnorm.frameworks.keras2 import layers as tf_keras
from batchnorm.frameworks.keras2 import v2_6 as tf_keras_2_6
from batchnorm.frameworks.keras3 import layers as keras
from batchnorm.frameworks.mindspore import layers as mindspore
from batchnorm.frameworks.mindspore import v2_0 as mindspore_2_0
from batchnorm.hosts.torch import another
from batchnorm.layer import Layer
from batchnorm.vocabulary import Array, complement

__all__ = ["read"]

KERAS: dict[str, Any] = {"keras": keras, "tf_keras": tf_keras, "tf_keras_2_6": tf_keras_2_6}
MINDSPORE: dict[str, Any] = {"mindspore": mindspore, "mindspore_2_0": mindspore_2_0}
RANKS = {"BatchNorm1d": 2, "BatchNorm2d": 4, "BatchNorm3d": 5, "SyncBatchNorm": 4}


def read(obj: Any, name: str, arrays: Mapping[str, Array | None]) -> Layer:
    """The dialect's layer with the module's settings, state and mode.

    `name` is torch's of the class, `arrays` are its tensors by torch's names. A Keras layer has
    the channels in axis 1, and is built for the rank that torch's class names; that of BatchNorm1d
    for 2, a SyncBatchNorm's for 4.

    Raises:
        TypeError: MindSpore's rule with state of a type that its layers don't have.
        ValueError: momentum=None.
    """
    if obj.momentum is None:
        raise InvalidValue(
            "momentum=None, the mean over all batches, has no counterpart in "
            f"{obj.semantics}: set it to a number before reading the module"
        )
    make = _keras if obj.semantics in KERAS else _mindspore
    layer: Layer = make(obj, name, arrays)
    values = {layer.STATE[own].role: own for own in layer.state}
    given = {
        "gamma": arrays["weight"],
        "beta": arrays["bias"],
        "running_mean": arrays["running_mean"],
        "running_var": arrays["running_var"],
    }
    state = layer.state
    for role, value in given.items():
        if value is not None:
            state[values[role]] = value
    layer.load_state(state)
    return layer


def _keras(obj: Any, name: str, arrays: Mapping[str, Array | None]) -> KerasLayer:
    mean = arrays["running_mean"]
    dtype = "float32" if mean is None else mean.dtype.name
    layer: Any = KERAS[obj.semantics].BatchNormalization(
        axis=1,
        momentum=complement(float(obj.momentum)),
        epsilon=float(obj.eps),
        center=arrays["bias"] is not None,
        scale=arrays["weight"] is not None,
        trainable=another.learns(obj),
        dtype=dtype if dtype in ("float32", "float64") else f"mixed_{dtype}",
    )
    layer.build((None, obj.num_features, *(2,) * (RANKS[name] - 2)))
    own: KerasLayer = layer
    return own


def _mindspore(obj: Any, name: str, arrays: Mapping[str, Array | None]) -> Layer:
    weight, mean = obj.weight, arrays["running_mean"]
    dtype = "float32" if mean is None else mean.dtype.name
    found = getattr(MINDSPORE[obj.semantics], name if name != "SyncBatchNorm" else "BatchNorm2d")
    options = {"dtype": dtype} if "dtype" in found.PARAMETERS else {}
    if not options and dtype != "float32":
        raise InvalidType(f"{obj.semantics}'s layers have float32 state, but this one's is {dtype}")
    layer: Any = found(
        obj.num_features,
        eps=float(obj.eps),
        momentum=complement(float(obj.momentum)),
        affine=weight is not None and bool(weight.requires_grad),
        **options,
    )
    layer.set_train(bool(obj.training))
    own: Layer = layer
    return own
