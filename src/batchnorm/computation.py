"""What a layer would compute for an input: asked of the layer itself, without computing it.

A dialect checks its input, casts it and chooses the mode in its own call; `computation` lets it do
so on a copy and stops before the arithmetic. Hosts trace what it says in their own framework, and
recalibration takes its statistics by it. Not here: any rule of a dialect.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from batchnorm import core
from batchnorm.frameworks.keras.layer import KerasLayer
from batchnorm.frameworks.mindspore.container import Cell
from batchnorm.frameworks.torch.container import Module
from batchnorm.layer import Layer
from batchnorm.vocabulary import Array, as_dtype

__all__ = ["Computation", "computation"]


@dataclass(frozen=True, eq=False)
class Computation:
    """What the core would be given.

    Args:
        x: the input as the core would get it: cast, and split into ghost batches.
        settings: mode, channel axes, epsilon and the rest.
        weights: how much each value counts; None for all alike.
        dtype: of the result.
    """

    x: Array
    settings: core.Settings
    weights: Array | None
    dtype: np.dtype[Any]


def computation(
    layer: Layer, x: Array, training: bool, mask: Array | None = None
) -> Computation | None:
    """What `layer` would compute for `x`, or None where there is nothing to (torch's empty batch).

    The layer isn't changed; of `x` nothing but shape and type is looked at.

    Raises:
        Exception: whatever the dialect raises for such an input.

    >>> import batchnorm as bn
    >>> computation(bn.torch.BatchNorm1d(2), np.zeros((4, 2), np.float32), True).settings.correction
    1
    """
    asked = copy.copy(layer)
    asked.replicas = None
    for name, value in vars(layer).items():
        if isinstance(value, np.ndarray):
            setattr(asked, name, value.copy())
    heard: list[Computation] = []

    def compute(
        x: Array,
        settings: core.Settings,
        *,
        weights: Array | None = None,
        dtype: np.dtype[Any] | None = None,
        out: Array | None = None,
        how: Any = None,
        again: bool = True,
    ) -> Array:
        heard.append(Computation(x, settings, weights, as_dtype(dtype or x.dtype)))
        return x

    asked._compute = compute  # type: ignore[method-assign]
    called: Any = asked
    if isinstance(layer, KerasLayer):
        called.activity_regularizer = None
        called.adjustment = None  # comes after all that is asked here
        arguments: dict[str, Any] = {"training": training}
        called(x, **(arguments if mask is None else {**arguments, "mask": mask}))
    else:
        assert isinstance(layer, Module | Cell)
        called.training = training
        called(x)
    return heard[0] if heard else None
