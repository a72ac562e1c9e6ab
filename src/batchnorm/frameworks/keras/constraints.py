"""Projections of gamma and beta, with Keras' names and signatures.

A layer only keeps them: an optimizer applies them after its step, and here as in Keras nothing
else does. Not here: how a name or a dictionary is read (`objects`).

Facts: tf_keras 2.21.0 (src/constraints.py), keras 3.15.1 (src/constraints), compared in
tests/frameworks. Listed deviations, beside `objects`':
- NonNeg of -inf is 0, as in Keras 3; Keras 2 multiplies it by 0, which is NaN. NonNeg of Keras 2
  takes float32 only.
- A min_value above max_value bounds the norm by min_value, as Keras 2 and Keras 3 on TensorFlow do;
  on torch and JAX it is max_value.
- An axis that the values don't have is `ValueError` (Keras 2: InvalidArgumentError).
- Norms are computed in float64 and the result is rounded to the values' dtype.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from batchnorm.errors import InvalidType, InvalidValue
from batchnorm.frameworks.keras.objects import Family, KerasObject, names_of
from batchnorm.vocabulary import Array

__all__ = [
    "Constraint",
    "ConstraintLike",
    "MaxNorm",
    "MinMaxNorm",
    "NonNeg",
    "RadialConstraint",
    "UnitNorm",
    "get",
    "serialize",
]

Axis: TypeAlias = int | Sequence[int] | None

# Keras' own stabiliser of a division by a norm, `backend.epsilon()`.
FUZZ = 1e-7


class Constraint(KerasObject):
    """A projection: called with a parameter, returns a new array. This one changes nothing."""

    MODULE = "keras.constraints"

    def __call__(self, w: Any) -> Array:
        """The projected values."""
        return np.asarray(self._projected(np.asarray(w)))

    def _projected(self, w: Array) -> Array:
        return w


class NonNeg(Constraint):
    """max(w, 0).

    >>> NonNeg()([-1.0, 2.0])
    array([0., 2.])
    """

    def _projected(self, w: Array) -> Array:
        return np.maximum(w, np.zeros((), w.dtype))


class NormConstraint(Constraint):
    """Base of those that divide by norm + 1e-7 along the axis: an integer, several, None for all.

    >>> UnitNorm()([3.0, 4.0]).round(6)
    array([0.6, 0.8])
    """

    axis: Axis

    def _wanted(self, norm: Array) -> Array:
        """The norms that are to be."""
        return np.ones_like(norm)

    def _projected(self, w: Array) -> Array:
        dtype = np.dtype(np.float32) if w.dtype.kind in "biu" else w.dtype
        wide = w.astype(np.float64)
        axes = tuple(self.axis) if isinstance(self.axis, Sequence) else self.axis
        with np.errstate(over="ignore", invalid="ignore"):
            try:
                norm = np.sqrt((wide**2).sum(axis=axes, keepdims=True))
            except ValueError as error:
                raise InvalidValue(
                    f"axis={self.axis!r} doesn't fit values of shape {w.shape}: {error}."
                ) from None
            return np.asarray(wide * (self._wanted(norm) / (FUZZ + norm))).astype(dtype)


@dataclass(eq=False)
class UnitNorm(NormConstraint):
    """w / (norm + 1e-7): Euclidean norm 1 along the axis."""

    axis: Axis = 0


@dataclass(eq=False)
class MaxNorm(NormConstraint):
    """w * min(norm, max_value) / (norm + 1e-7): norm at most max_value along the axis."""

    max_value: float = 2
    axis: Axis = 0

    def _wanted(self, norm: Array) -> Array:
        return _clip(norm, 0, self.max_value)


@dataclass(eq=False)
class MinMaxNorm(NormConstraint):
    """A norm between min_value and max_value along the axis, approached by `rate` of the way."""

    min_value: float = 0.0
    max_value: float = 1.0
    rate: float = 1.0
    axis: Axis = 0

    def _wanted(self, norm: Array) -> Array:
        clipped = _clip(norm, self.min_value, self.max_value)
        return np.asarray(self.rate * clipped + (1 - self.rate) * norm)


class RadialConstraint(Constraint):
    """Square kernels (rank 4) that are constant on rings around their centre; Keras 2 only.

    Ring i has the value of `w[n // 2 + i, n // 2 + i]`. For an odd size, Keras' innermost value
    is that of the place before the centre, `w[n // 2 - 1, n // 2 - 1]`, which is kept here.
    """

    def _projected(self, w: Array) -> Array:
        if w.ndim != 4:
            raise InvalidValue(f"The weight tensor must have rank 4, but got shape {w.shape}.")
        size = w.shape[0]
        if w.shape[1] != size or size < 2:
            raise InvalidValue(
                f"RadialConstraint expects square kernels of 2 x 2 or more in the first two axes, "
                f"but got shape {w.shape}."
            )
        distance = np.abs(2 * np.arange(size) - (size - 1)) // 2
        ring = np.maximum.outer(distance, distance)
        source = size // 2 + np.where(ring == 0, -1, ring - size % 2)
        return np.asarray(w[source, source])


ConstraintLike: TypeAlias = (
    str | Mapping[str, Any] | Constraint | type[Constraint] | Callable[..., Any] | None
)
"""What a Keras layer takes (Keras 2 takes no class)."""

_KERAS_3: dict[str, type[Constraint]] = names_of(
    [Constraint, MaxNorm, MinMaxNorm, NonNeg, UnitNorm]
)
_KERAS_2 = {name: cls for name, cls in _KERAS_3.items() if name != "constraint"}
_KERAS_2 |= names_of([RadialConstraint])
_KERAS_2 |= {"maxnorm": MaxNorm, "nonneg": NonNeg, "unitnorm": UnitNorm}
_FAMILY = Family("constraint", {"tf_keras": _KERAS_2, "keras": _KERAS_3})
get = _FAMILY.get
serialize = _FAMILY.serialize


def _clip(norm: Array, low: float, high: float) -> Array:
    for bound in (low, high):
        if not isinstance(bound, numbers.Real):
            raise InvalidType(f"A norm's bound must be a number, but got {bound!r}.")
    return np.asarray(np.maximum(np.minimum(norm, high), low))
