"""What Keras 2's layer takes in `**kwargs`: its own hidden arguments, and those of every layer.

Source: tf_keras 2.21.0, tf_keras/src/layers/normalization/batch_normalization.py and
tf_keras/src/engine/base_layer.py (allowed_kwargs).
"""

from __future__ import annotations

from typing import TypedDict

from batchnorm.dialects.keras_arguments import DtypePolicy
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

__all__ = ["Options"]


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
