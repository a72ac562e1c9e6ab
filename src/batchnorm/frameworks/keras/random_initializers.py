"""Initializers that draw random values, with Keras' names and signatures.

Not here: the rules by which a layer's argument becomes one of these (`initializers`). Facts:
tf_keras 2.21.0 and keras 3.15.1 (src/initializers), compared in tests/frameworks.

Listed deviations (`initializers` lists them all): other numbers than the framework's, from the same
distribution; any integer is a seed; only floating dtypes.
"""

from __future__ import annotations

import math
import numbers
import operator
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from batchnorm.errors import InvalidAttribute, InvalidType, InvalidValue
from batchnorm.frameworks.keras.constant_initializers import Initializer, Shape, floating
from batchnorm.vocabulary import Array

__all__ = [
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "LecunNormal",
    "LecunUniform",
    "Orthogonal",
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
]

Axes: TypeAlias = Sequence[int] | None

# Standard deviation of a standard normal that is cut off at ±2.
TRUNCATED_STD = 0.87962566103423978


class RandomInitializer(Initializer):
    """Base of the random ones: the same values at every call of one object."""

    seed: int | None

    def __post_init__(self) -> None:
        """Fix the seed."""
        if self.seed is not None and (
            isinstance(self.seed, bool) or not hasattr(self.seed, "__index__")
        ):
            raise InvalidValue(f"seed must be an integer or None, but got {self.seed!r}.")
        self.seed = None if self.seed is None else operator.index(self.seed)
        self._seed = random.randint(1, 10**9) if self.seed is None else self.seed

    def _normal(self, shape: Shape, mean: float, std: float, *, cut: bool = False) -> Array:
        generator = np.random.default_rng(self._seed % 2**64)
        values = np.asarray(generator.standard_normal(shape))
        while cut and (outside := np.abs(values) > 2).any():
            values[outside] = generator.standard_normal(np.count_nonzero(outside))
        return mean + std * values

    def _uniform(self, shape: Shape, low: float, high: float) -> Array:
        generator = np.random.default_rng(self._seed % 2**64)
        return low + (high - low) * generator.random(shape)


@dataclass(eq=False)
class RandomNormal(RandomInitializer):
    """Normal with this mean and standard deviation."""

    mean: float = 0.0
    stddev: float = 0.05
    seed: int | None = None

    def __call__(self, shape: Shape, dtype: npt.DTypeLike = np.float32) -> Array:
        """Draw the values."""
        return self._normal(shape, self.mean, self.stddev).astype(floating(dtype))


@dataclass(eq=False)
class TruncatedNormal(RandomInitializer):
    """Normal, drawn again outside mean ± 2 stddev (so its own deviation is 0.88 stddev)."""

    mean: float = 0.0
    stddev: float = 0.05
    seed: int | None = None

    def __call__(self, shape: Shape, dtype: npt.DTypeLike = np.float32) -> Array:
        """Draw the values."""
        return self._normal(shape, self.mean, self.stddev, cut=True).astype(floating(dtype))


@dataclass(eq=False)
class RandomUniform(RandomInitializer):
    """Uniform between minval and maxval."""

    minval: float = -0.05
    maxval: float = 0.05
    seed: int | None = None

    def __call__(self, shape: Shape, dtype: npt.DTypeLike = np.float32) -> Array:
        """Draw the values."""
        return self._uniform(shape, self.minval, self.maxval).astype(floating(dtype))


class ScaledInitializer(RandomInitializer):
    """Base of those whose variance is scale / fan; for a vector, fan_in = fan_out = its length."""

    KERAS_3_ONLY = frozenset({"input_axes", "output_axes"})
    input_axes: Axes
    output_axes: Axes

    def _scaled(self, shape: Shape, scale: float, mode: str, distribution: str) -> Array:
        if self.input_axes is not None and self.output_axes is not None:
            fan_in = math.prod(shape[axis] for axis in self.input_axes)
            fan_out = math.prod(shape[axis] for axis in self.output_axes)
        else:  # (..., fan_in, fan_out); a vector is both
            sizes = (1, 1) if not shape else (shape * 2 if len(shape) == 1 else shape)
            fan_in, fan_out = (math.prod(sizes[:-2]) * size for size in sizes[-2:])
        fans = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
        std = math.sqrt(scale / max(1.0, fans[mode]))
        if distribution == "uniform":
            return self._uniform(shape, -math.sqrt(3) * std, math.sqrt(3) * std)
        cut = distribution == "truncated_normal"
        return self._normal(shape, 0.0, std / TRUNCATED_STD if cut else std, cut=cut)


@dataclass(eq=False)
class VarianceScaling(ScaledInitializer):
    """Variance scale / fan, with fan_in, fan_out or their mean (fan_avg), of one distribution.

    Args:
        scale: factor of the variance, above 0.
        mode: "fan_in", "fan_out" or "fan_avg".
        distribution: "truncated_normal" (or "normal"), "untruncated_normal" or "uniform".
        seed: an integer, or None.
        input_axes, output_axes: the axes that make up the fans (Keras 3 only).
    """

    scale: float = 1.0
    mode: str = "fan_in"
    distribution: str = "truncated_normal"
    seed: int | None = None
    input_axes: Axes = None
    output_axes: Axes = None

    def __post_init__(self) -> None:
        """Check the arguments."""
        if not isinstance(self.scale, numbers.Real):
            raise InvalidType(f"scale must be a number above 0, but got {self.scale!r}.")
        if self.scale <= 0:
            raise InvalidValue(f"scale must be above 0, but got {self.scale!r}.")
        if self.mode not in ("fan_in", "fan_out", "fan_avg"):
            raise InvalidValue(f"mode must be fan_in, fan_out or fan_avg, but got {self.mode!r}.")
        if not isinstance(self.distribution, str):
            raise InvalidAttribute(f"distribution must be a name, but got {self.distribution!r}.")
        name = self.distribution.lower()
        self.distribution = "truncated_normal" if name == "normal" else name
        if self.distribution not in ("uniform", "truncated_normal", "untruncated_normal"):
            raise InvalidValue(
                "distribution must be uniform, truncated_normal or untruncated_normal, "
                f"but got {name!r}."
            )
        super().__post_init__()

    def __call__(self, shape: Shape, dtype: npt.DTypeLike = np.float32) -> Array:
        """Draw the values."""
        values = self._scaled(shape, self.scale, self.mode, self.distribution)
        return values.astype(floating(dtype))


@dataclass(eq=False)
class NamedScaling(ScaledInitializer):
    """Base of the named cases of VarianceScaling."""

    RULE: ClassVar[tuple[float, str, str]]

    seed: int | None = None
    input_axes: Axes = None
    output_axes: Axes = None

    def __call__(self, shape: Shape, dtype: npt.DTypeLike = np.float32) -> Array:
        """Draw the values."""
        return self._scaled(shape, *self.RULE).astype(floating(dtype))


class GlorotUniform(NamedScaling):
    """Uniform with variance 1 / fan_avg."""

    RULE = (1.0, "fan_avg", "uniform")


class GlorotNormal(NamedScaling):
    """Truncated normal with variance 1 / fan_avg."""

    RULE = (1.0, "fan_avg", "truncated_normal")


class HeUniform(NamedScaling):
    """Uniform with variance 2 / fan_in."""

    RULE = (2.0, "fan_in", "uniform")


class HeNormal(NamedScaling):
    """Truncated normal with variance 2 / fan_in."""

    RULE = (2.0, "fan_in", "truncated_normal")


class LecunUniform(NamedScaling):
    """Uniform with variance 1 / fan_in."""

    RULE = (1.0, "fan_in", "uniform")


class LecunNormal(NamedScaling):
    """Truncated normal with variance 1 / fan_in."""

    RULE = (1.0, "fan_in", "truncated_normal")


@dataclass(eq=False)
class Orthogonal(RandomInitializer):
    """A random orthogonal matrix times gain; for shapes of rank 2 and more."""

    gain: float = 1.0
    seed: int | None = None

    def __call__(self, shape: Shape, dtype: npt.DTypeLike = np.float32) -> Array:
        """Draw the matrix, its leading axes taken as rows."""
        resolved = floating(dtype)
        if len(shape) < 2:
            raise InvalidValue(
                "The tensor to initialize must be at least two-dimensional, but got "
                f"shape={shape} of rank {len(shape)}: Orthogonal can't initialize a vector."
            )
        rows, columns = math.prod(shape[:-1]), shape[-1]
        q, r = np.linalg.qr(self._normal((max(rows, columns), min(rows, columns)), 0.0, 1.0))
        q = q * np.sign(np.diag(r))
        return (self.gain * (q.T if rows < columns else q)).reshape(shape).astype(resolved)
