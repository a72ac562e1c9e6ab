"""What Keras 2's layer takes in `**kwargs`: its own hidden arguments, and those of every layer.

Source: tf_keras 2.21.0, tf_keras/src/layers/normalization/batch_normalization.py and
tf_keras/src/engine/base_layer.py (allowed_kwargs).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from batchnorm.errors import InvalidType
from batchnorm.frameworks.keras.arguments import DtypePolicy
from batchnorm.vocabulary import (
    Adjustment,
    Fused,
    Housekeeping,
    InitialWeights,
    Name,
    Renorm,
    RenormClipping,
    RenormWeightOfRunning,
    ShapeHint,
    SizeHint,
    Trainable,
    VirtualBatchSize,
)

__all__ = ["Options", "batch_input_shape"]


class Options(TypedDict, total=False):
    """The names that are understood; any other is an error."""

    renorm: Renorm
    renorm_clipping: RenormClipping
    renorm_momentum: RenormWeightOfRunning
    fused: Fused
    trainable: Trainable
    virtual_batch_size: VirtualBatchSize
    adjustment: Adjustment
    name: Name
    dtype: DtypePolicy
    dynamic: Housekeeping
    input_dim: SizeHint
    input_shape: ShapeHint
    batch_input_shape: ShapeHint
    batch_size: SizeHint
    weights: InitialWeights
    activity_regularizer: Housekeeping
    autocast: Housekeeping
    implementation: Housekeeping


def batch_input_shape(options: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """The shape that the four options for it amount to, None without any; None counts as not given.

    >>> batch_input_shape({"input_dim": 3}), batch_input_shape({"input_shape": [4, 3]})
    ((None, 3), (None, 4, 3))
    """
    whole, shape = options.get("batch_input_shape"), options.get("input_shape")
    if shape is None and options.get("input_dim") is not None:
        shape = (options["input_dim"],)
    given = shape if whole is None else whole
    if given is None:
        return None
    if not isinstance(given, list | tuple):
        raise InvalidType(f"an input's shape must be a tuple, but got {given!r}")
    return tuple(given) if whole is not None else (options.get("batch_size"), *given)
