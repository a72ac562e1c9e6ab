"""What a dialect says about one call: the core's settings, asked of the dialect's own functions.

For a dialect's layer (`of_layer`), and for a torch module that follows another dialect's rule
(`of_semantics`). torch.compile traces both, so they are plain Python. Not here: the rules
themselves, which are the dialects'.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from batchnorm import core
from batchnorm.errors import InvalidType, InvalidValue
from batchnorm.frameworks.keras.layer import KerasLayer
from batchnorm.frameworks.keras2 import layers as tf_keras
from batchnorm.frameworks.keras2 import v2_6 as tf_keras_2_6
from batchnorm.frameworks.keras2.fused import at_rank
from batchnorm.frameworks.keras3 import layers as keras
from batchnorm.frameworks.mindspore import layers as mindspore
from batchnorm.frameworks.mindspore import v2_0 as mindspore_2_0
from batchnorm.vocabulary import Mode, complement

__all__ = ["SEMANTICS", "check", "of_layer", "of_semantics"]

TINY = float(np.finfo(np.float64).tiny)  # as in the dialects: it makes 0 / 0 zero
MASK_EPSILON = 1e-7  # keras.backend.epsilon()
KERAS_2 = {"tf_keras": tf_keras, "tf_keras_2_6": tf_keras_2_6}
MINDSPORE = {"mindspore": mindspore, "mindspore_2_0": mindspore_2_0}
SEMANTICS = ("torch", "keras", *KERAS_2, *MINDSPORE)


def check(semantics: str, epsilon: Any, factor: Any, tracking: bool) -> None:
    """Refuse what the dialect refuses, or can't express.

    Raises:
        ValueError: an unknown dialect, a momentum of None, no running statistics, a setting out
            of the dialect's range.
    """
    if semantics not in SEMANTICS:
        raise InvalidValue(f"semantics must be one of {SEMANTICS}, but got {semantics!r}")
    if semantics == "torch":
        return
    if factor is None:
        raise InvalidValue(
            f"momentum=None, the mean over all batches, has no counterpart in {semantics}: give "
            "the batch norm a number as momentum first"
        )
    if not tracking:
        raise InvalidValue(
            f"track_running_stats=False has no counterpart in {semantics}, which always keeps "
            "running statistics"
        )
    if semantics in MINDSPORE:  # which checks momentum when made, and epsilon when called
        cell = MINDSPORE[semantics].BatchNorm2d(1, float(epsilon), complement(factor))
        cell(np.ones((1, 1, 1, 1), np.float32))
    elif not isinstance(epsilon, int | float) or not isinstance(factor, int | float):
        raise InvalidValue(f"eps and momentum must be numbers, but are {epsilon!r} and {factor!r}")


def of_semantics(
    semantics: str,
    rank: int,
    size: int,
    epsilon: float,
    factor: float,
    training: bool,
    trainable: bool,
    wide: bool,
) -> core.Settings:
    """The settings of a torch module that follows another dialect.

    `size` is the number of values per channel, at most 2; `factor` the weight of the new batch;
    `wide` says whether the input is float64.
    """
    momentum = complement(factor)
    if semantics in MINDSPORE:
        cell = MINDSPORE[semantics].BatchNorm2d
        mode = cell.mode(training, None)
        if mode is Mode.BATCH_AND_UPDATE and size == 0:
            mode = Mode.BATCH  # as the dialect has it
        return core.Settings((1,), mode, epsilon, complement(momentum), cell.correction(size))
    if semantics == "keras":
        layer = keras.BatchNormalization
        mode, weight = layer.mode(training, trainable), complement(momentum)
        return core.Settings((1,), mode, epsilon, weight, layer.correction())
    older = KERAS_2[semantics].BatchNormalization
    fused = at_rank(False if wide else None, [1], rank)
    if fused and semantics == "tf_keras_2_6":
        epsilon = max(epsilon, tf_keras_2_6.SMALLEST_EPSILON)
    mode, weight = older.mode(training, trainable), _weight_of_batch(momentum)
    return core.Settings((1,), mode, epsilon, weight, older.correction(fused, size))


def of_layer(
    layer: Any, rank: int, size: int, groups: int, mode: Mode, masked: bool
) -> core.Settings:
    """The settings of a call of a dialect's layer."""
    if isinstance(layer, KerasLayer):
        return _of_keras(layer, rank, size, groups, mode, masked)
    if mode is Mode.BATCH_AND_UPDATE and size == 0:
        mode = Mode.BATCH  # as the dialect has it
    axis = 1 if layer._format == "NCHW" else rank - 1
    factor = complement(layer._operator_momentum)
    return core.Settings((axis,), mode, layer._operator_epsilon, factor, layer.correction(size))


def _of_keras(
    layer: Any, rank: int, size: int, groups: int, mode: Mode, masked: bool
) -> core.Settings:
    offset, factor, renorm = 0.0, 0.0, None
    if isinstance(layer, keras.BatchNormalization):
        axes: tuple[int, ...] = (layer.axis % rank,)
        epsilon, correction = layer._number("epsilon"), layer.correction()
        if mode is not Mode.RUNNING:
            factor = complement(layer._number("momentum"))
        renorm = layer._renorm_settings()
        if masked:
            offset = MASK_EPSILON
    else:
        axes = tuple(sorted(layer.axis))
        axes = (1, *axes) if groups > 1 else axes
        epsilon = layer._effective_epsilon()
        correction = layer.correction(bool(layer.fused), size)
        if mode is not Mode.RUNNING:
            factor = _weight_of_batch(layer.momentum)
        if layer.renorm:
            weight = _weight_of_batch(layer.renorm_momentum)
            renorm = core.Renorm(weight, **layer.renorm_clipping)
        if masked:
            offset = TINY
    if size == 0 and layer.synchronized:
        offset = TINY
    return core.Settings(axes, mode, epsilon, factor, correction, renorm, offset, groups)


def _weight_of_batch(momentum: Any) -> Any:
    """1 - momentum in float32, as Keras 2 has it; a tensor while torch.compile traces."""
    if not isinstance(momentum, int | float):
        raise InvalidType(f"'momentum' must be a number in training, but got {momentum!r}")
    if torch.compiler.is_compiling():
        return torch.tensor(complement(momentum), dtype=torch.float32).to(torch.float64)
    return float(np.float32(complement(momentum)))
