"""What a dialect says about one call, asked of its own layer: the core's settings.

Not here: a rule of any framework; those are the dialects'. A torch module that follows another
dialect's rule is asked through a layer of that dialect with the module's settings.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch

from batchnorm import core
from batchnorm.dialects import keras, mindspore, mindspore_2_0, tf_keras, tf_keras_2_6
from batchnorm.dialects.keras_layer import KerasLayer
from batchnorm.errors import InvalidValue
from batchnorm.layer import Layer
from batchnorm.vocabulary import Mode, complement

__all__ = ["SEMANTICS", "check", "of_layer", "of_semantics"]

TINY = float(np.finfo(np.float64).tiny)
KERAS = {"tf_keras": tf_keras, "tf_keras_2_6": tf_keras_2_6, "keras": keras}
MINDSPORE = {"mindspore": mindspore, "mindspore_2_0": mindspore_2_0}
SEMANTICS = ("torch", *MINDSPORE, *KERAS)


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
    of_semantics(semantics, 4, 2, float(epsilon), float(factor), True, True, False)


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator, unused-ignore]
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
    layer = _layer(semantics, rank, epsilon, factor, trainable, wide)
    return of_layer(layer, rank, size, 1, training, False)


@cache
def _layer(
    semantics: str, rank: int, epsilon: float, factor: float, trainable: bool, wide: bool
) -> Layer:
    """A layer of one channel, axis 1."""
    momentum = complement(factor)
    if semantics in MINDSPORE:
        cell: Layer = MINDSPORE[semantics].BatchNorm2d(1, eps=epsilon, momentum=momentum)
        return cell
    layer = KERAS[semantics].BatchNormalization(
        axis=1,
        momentum=momentum,
        epsilon=epsilon,
        trainable=trainable,
        dtype="float64" if wide else "float32",
        name="ported",
    )
    layer.build((1,) * rank)
    made: Layer = layer
    return made


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator, unused-ignore]
def of_layer(
    layer: Any,
    rank: int,
    size: int,
    groups: int,
    training: bool,
    masked: bool,
    *seen: Any,
) -> core.Settings:
    """The settings of a call of a dialect's layer; `seen` is what torch.compile must watch."""
    of = _of_keras if isinstance(layer, KerasLayer) else _of_mindspore
    return of(layer, rank, size, groups, training, masked)


def _of_mindspore(
    layer: Any, rank: int, size: int, groups: int, training: bool, masked: bool
) -> core.Settings:
    mode = layer.mode(training, layer.use_batch_statistics)
    if mode is Mode.BATCH_AND_UPDATE and (size == 0 or layer.moving_mean.dtype != np.float32):
        mode = Mode.BATCH  # as the dialect has it
    axis = 1 if layer._format == "NCHW" else rank - 1
    factor = complement(layer._operator_momentum)
    return core.Settings((axis,), mode, layer._operator_epsilon, factor, layer.correction(size))


def _of_keras(
    layer: Any, rank: int, size: int, groups: int, training: bool, masked: bool
) -> core.Settings:
    mode = layer.mode(training, bool(layer.trainable))
    offset = 0.0
    if isinstance(layer, keras.BatchNormalization):
        axes: tuple[int, ...] = (layer.axis % rank,)
        epsilon, correction = layer._number("epsilon"), layer.correction()
        factor = 0.0 if mode is Mode.RUNNING else complement(layer._number("momentum"))
        if masked:
            offset = keras.MASK_EPSILON
    else:
        axes = tuple(sorted(layer.axis))
        axes = (1, *axes) if groups > 1 else axes
        epsilon, factor = layer._effective_epsilon(), layer._factor(mode)
        correction = layer.correction(bool(layer.fused), size)
        if masked:
            offset = TINY
    if size == 0 and layer.synchronized:
        offset = TINY
    renorm = layer._renorm_settings()
    return core.Settings(axes, mode, epsilon, factor, correction, renorm, offset, groups)
