"""The base of all initializers, and those that draw nothing, with Keras' names and signatures.

Not here: the random ones (`random_initializers`), and the rules by which a layer's argument becomes
one of these (`initializers`, which lists the deviations). Facts: tf_keras 2.21.0 and keras 3.15.1
(src/initializers), compared in tests/frameworks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from batchnorm.errors import InvalidType, InvalidValue, NotSupported
from batchnorm.frameworks.keras.objects import Dialect, KerasObject
from batchnorm.vocabulary import Array, as_dtype

__all__ = ["Constant", "Identity", "Initializer", "Ones", "Shape", "Zeros", "floating"]

Shape: TypeAlias = tuple[int, ...]


class Initializer(KerasObject):
    """A rule for initial values: called with a shape and a dtype, returns a new array."""

    MODULE = "keras.initializers"
    KERAS_2_DROPS = frozenset({"dtype"})

    def __call__(self, shape: Shape, dtype: npt.DTypeLike = np.float32) -> Array:
        """New values of this shape and dtype."""
        raise NotSupported(
            f"{type(self).__name__} has no rule: expected a method __call__(shape, dtype)."
        )


class Zeros(Initializer):
    """All 0."""

    def __call__(self, shape: Shape, dtype: npt.DTypeLike = np.float32) -> Array:
        """Zeros."""
        return np.zeros(shape, as_dtype(dtype))


class Ones(Initializer):
    """All 1."""

    def __call__(self, shape: Shape, dtype: npt.DTypeLike = np.float32) -> Array:
        """Ones."""
        return np.ones(shape, as_dtype(dtype))


@dataclass(eq=False)
class Constant(Initializer):
    """All `value`: a number, or an array that broadcasts to the shape.

    >>> Constant(2.5)((3,))
    array([2.5, 2.5, 2.5], dtype=float32)
    """

    value: Any = 0

    @classmethod
    def read(cls, config: Mapping[str, Any], dialect: Dialect) -> Constant:
        """Build it from a configuration; an array stands there as a `__numpy__` dictionary."""
        if dialect == "keras":  # reads this key, and no other
            if "value" not in config:
                raise InvalidValue("Constant of Keras 3 expects the key 'value' in its config.")
            config = {"value": config["value"]}
        value = config.get("value")
        if isinstance(value, Mapping) and value.get("class_name") in ("__numpy__", "__tensor__"):
            inner = value["config"]
            config = {**config, "value": np.array(inner["value"], as_dtype(inner["dtype"]))}
        return super().read(config, dialect)

    def __call__(self, shape: Shape, dtype: npt.DTypeLike = np.float32) -> Array:
        """The value in every place, rounded (or cut, for integers) to the dtype."""
        values = np.asarray(self.value)
        if values.dtype.kind not in "biufV":
            error = InvalidValue if self.value is None else InvalidType
            raise error(f"Constant expected a number or an array, but got {self.value!r}.")
        with np.errstate(over="ignore"):
            return self._broadcast(values, shape).astype(as_dtype(dtype))

    @staticmethod
    def _broadcast(values: Array, shape: Shape) -> Array:
        try:
            return np.broadcast_to(values, shape)
        except ValueError:
            raise InvalidValue(
                f"Constant's value has shape {values.shape}, which doesn't fit shape {shape}."
            ) from None


@dataclass(eq=False)
class Identity(Initializer):
    """The identity matrix times gain; for shapes of rank 2."""

    gain: float = 1.0

    def config_for(self, dialect: Dialect) -> dict[str, Any]:
        """Keras 3 forgets the gain when it writes, and takes it when it reads."""
        return {} if dialect == "keras" else super().config_for(dialect)

    def __call__(self, shape: Shape, dtype: npt.DTypeLike = np.float32) -> Array:
        """The matrix; its diagonal is gain."""
        if len(shape) != 2:
            raise InvalidValue(
                "Identity matrix initializer can only be used for 2D matrices, but got "
                f"shape={shape} of rank {len(shape)}."
            )
        return (self.gain * np.eye(*shape)).astype(as_dtype(dtype))


def floating(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """The dtype, if random values can have it."""
    resolved = as_dtype(dtype)
    if "float" not in resolved.name:
        raise InvalidValue(f"Expected a floating dtype for random values, but got {resolved.name}.")
    return resolved
