"""Penalties on gamma and beta, with Keras' names and signatures.

A layer only keeps them and lists their values in `losses`: adding these to a training loss is the
user's affair, and so is their gradient (`gradient`). Not here: how a name or a dictionary is read
(`objects`).

Facts: tf_keras 2.21.0 (src/regularizers.py), keras 3.15.1 (src/regularizers), compared in
tests/frameworks. Listed deviations, beside `objects`':
- Keras 3 refuses a negative penalty at construction; here a Keras 3 layer does when it gets it,
  since Keras 2 takes it.
- `L1(l=...)`, an old spelling in Keras 2, is `TypeError`.
- The name of the abstract Regularizer is unknown here.
- OrthogonalRegularizer takes a row shorter than 1e-6 as if it were that long, as Keras 2 does
  (1e-7 in Keras 3, which has no layer with a matrix).
- Sums are computed in float64 and rounded to the parameter's dtype.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeAlias

import numpy as np

from batchnorm.errors import InvalidValue, NotSupported
from batchnorm.frameworks.keras.objects import Dialect, Family, KerasObject, names_of
from batchnorm.vocabulary import Array

__all__ = [
    "L1",
    "L1L2",
    "L2",
    "OrthogonalRegularizer",
    "Regularizer",
    "RegularizerLike",
    "get",
    "serialize",
]


class Regularizer(KerasObject):
    """A penalty: called with a parameter, returns a number."""

    MODULE = "keras.regularizers"
    FLOAT32_IN_KERAS_3: ClassVar[bool] = False
    """Keras 2 keeps every penalty in float32, which its configurations show; Keras 3 some."""

    def __call__(self, x: Any) -> float:
        """The penalty of these values."""
        return 0.0

    def config_for(self, dialect: Dialect) -> dict[str, Any]:
        """The arguments, as precise as the framework keeps them."""
        if not dataclasses.is_dataclass(self):
            raise NotSupported(f"{type(self).__name__} does not implement get_config().")
        config = super().config_for(dialect)
        if dialect == "keras" and not self.FLOAT32_IN_KERAS_3:
            return config
        return {k: float(np.float32(v)) if isinstance(v, float) else v for k, v in config.items()}

    def check(self, dialect: Dialect) -> None:
        """Refuse what Keras 3 refuses and Keras 2 accepts: a negative penalty."""
        for name in self.parameters(dialect):
            value = getattr(self, name)
            if dialect == "keras" and isinstance(value, float) and value < 0:
                raise InvalidValue(
                    f"Invalid value for argument {name}: expected a non-negative float in Keras 3, "
                    f"but got {name}={value}."
                )


class NormRegularizer(Regularizer):
    """Base of those that sum factor * |x| ** power; the parameters say the powers, `l1` and `l2`.

    >>> L1(0.5)([1.0, -2.0]), L2(0.5)([1.0, -2.0])
    (1.5, 2.5)
    """

    def __post_init__(self) -> None:
        """Check the penalties; None means the default."""
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            given = getattr(self, field.name)
            value = field.default if given is None else given
            setattr(self, field.name, _penalty(value, field.name))

    def terms(self) -> list[tuple[float, int]]:
        """Pairs of factor and power; one of two with a factor of 0 is dropped, infinities too."""
        pairs = [(getattr(self, name), int(name[1])) for name in self.parameters("keras")]
        return [(factor, power) for factor, power in pairs if factor or len(pairs) == 1]

    def __call__(self, x: Any) -> float:
        """The penalty, in the precision of x (float32 for integers)."""
        x = _as_float(x)
        wide = np.abs(x.astype(np.float64))
        with np.errstate(over="ignore", invalid="ignore"):
            total = sum(_factor(f, x) * (wide**power).sum() for f, power in self.terms())
        return _rounded(total, x)

    def gradient(self, x: Any) -> Array:
        """The derivative of the penalty by x; 0 at 0."""
        x = _as_float(x)
        wide = x.astype(np.float64)
        slopes = [
            _factor(f, x) * power * np.sign(wide) * np.abs(wide) ** (power - 1)
            for f, power in self.terms()
        ]
        return np.asarray(sum(slopes, np.zeros(x.shape))).astype(x.dtype)


@dataclasses.dataclass(eq=False)
class L1(NormRegularizer):
    """l1 * sum(|x|)."""

    FLOAT32_IN_KERAS_3 = True
    l1: float = 0.01


@dataclasses.dataclass(eq=False)
class L2(NormRegularizer):
    """l2 * sum(x ** 2)."""

    l2: float = 0.01


@dataclasses.dataclass(eq=False)
class L1L2(NormRegularizer):
    """l1 * sum(|x|) + l2 * sum(x ** 2)."""

    l1: float = 0.0
    l2: float = 0.0


@dataclasses.dataclass(eq=False)
class OrthogonalRegularizer(Regularizer):
    """Factor * mean of |cos| between the pairs of rows (or columns); for shapes of rank 2.

    A layer has such a shape only in Keras 2, with an input of rank 2 and two axes.
    """

    FLOAT32_IN_KERAS_3 = True
    factor: float = 0.01
    mode: str = "rows"

    def __post_init__(self) -> None:
        """Check the arguments."""
        self.factor = _penalty(self.factor, "factor")
        if self.mode not in ("rows", "columns"):
            raise InvalidValue(f"mode must be 'rows' or 'columns', but got {self.mode!r}.")

    def __call__(self, x: Any) -> float:
        """The penalty; NaN for a single row or column, which has no pairs."""
        x = _as_float(x)
        if x.ndim != 2:
            raise InvalidValue(
                f"OrthogonalRegularizer expects a rank of 2, but got the shape {x.shape}: it can't "
                "be used on a vector such as gamma."
            )
        rows = x.astype(np.float64) if self.mode == "rows" else x.astype(np.float64).T
        rows = rows / np.sqrt(np.maximum((rows**2).sum(axis=1, keepdims=True), 1e-12))
        pairs = len(rows) * (len(rows) - 1) / 2
        overlap = np.abs(rows @ rows.T * (1 - np.eye(len(rows)))).sum()
        return _rounded(_factor(self.factor, x) * 0.5 * overlap / pairs, x) if pairs else math.nan


RegularizerLike: TypeAlias = (
    str | Mapping[str, Any] | Regularizer | type[Regularizer] | Callable[..., Any] | None
)
"""What a Keras layer takes (Keras 2 takes no class)."""

_CLASSES: tuple[type[Regularizer], ...] = (L1, L1L2, L2, OrthogonalRegularizer)
_KERAS_3 = names_of(_CLASSES)
_KERAS_2 = {name: cls for name, cls in _KERAS_3.items() if name != "l1l2"} | {"l1_l2": L1L2}
_FAMILY = Family(
    "regularizer",
    {"tf_keras": _KERAS_2, "keras": _KERAS_3},
    defaults={"l1_l2": {"l1": 0.01, "l2": 0.01}},
)
get = _FAMILY.get
serialize = _FAMILY.serialize


def _penalty(value: object, name: str) -> float:
    if not isinstance(value, float | int) or not math.isfinite(value):
        raise InvalidValue(
            f"Value {value!r} is not a valid penalty: expected {name} to be a finite float or int."
        )
    return float(value)


def _as_float(x: Any) -> Array:
    values = np.asarray(x)
    return values.astype(np.float32) if values.dtype.kind in "biu" else values


def _factor(value: float, x: Array) -> float:
    # Both frameworks make it a float32 and then the parameter's dtype.
    return float(np.float32(value).astype(x.dtype))


def _rounded(value: float, x: Array) -> float:
    with np.errstate(over="ignore"):
        return float(np.asarray(value).astype(x.dtype))
