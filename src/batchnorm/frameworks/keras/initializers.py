"""Initial values as a layer's argument gives them, with Keras' names and signatures.

Not here: which entry is initialized when, and MindSpore's names (`mindspore/initial.py`). Facts:
tf_keras 2.21.0 and keras 3.15.1 (src/initializers), compared in tests/frameworks. Listed
deviations, beside `objects`':
- Random ones draw other numbers than the framework, from the same distribution. Unseeded ones take
  their seed from Python's `random`, as Keras does. As in Keras, one object returns the same values
  at every call.
- `seed` is any integer: Keras 3 refuses NumPy's, and takes a SeedGenerator, which is not here.
- Random ones need a floating dtype. Constant(2.5) for int32 gives 2 (Keras 2: TypeError), and an
  array that doesn't fit is `ValueError` (Keras 2: TypeError). A Constant beyond the dtype's range
  is inf, as in Keras 2 (Keras 3 on TensorFlow: ValueError), 1j is TypeError.
- A function's values of a wrong shape are `ValueError`, as in Keras 2; Keras 3 lets them pass.
- The names of the abstract Initializer and of STFT (rank 3 only) are unknown here: `ValueError` at
  construction instead of an error at build.
"""

from __future__ import annotations

import math
import numbers
import operator
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias, TypeGuard

import numpy as np
import numpy.typing as npt

from batchnorm.errors import InvalidAttribute, InvalidType, InvalidValue, NotSupported
from batchnorm.frameworks.keras.objects import Dialect, Family, KerasObject, names_of
from batchnorm.vocabulary import Array, as_dtype

__all__ = [
    "Constant", "GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "Identity", "Initializer",
    "InitializerLike", "KerasInitializerLike", "LecunNormal", "LecunUniform", "Ones", "Orthogonal",
    "RandomNormal", "RandomUniform", "Shape", "TruncatedNormal", "VarianceScaling", "Zeros",
    "get", "initial_value", "is_constant", "is_plain", "serialize",
]  # fmt: skip

Shape: TypeAlias = tuple[int, ...]
Axes: TypeAlias = Sequence[int] | None

TRUNCATED_STD = 0.87962566103423978  # standard deviation of a standard normal cut off at ±2


class Initializer(KerasObject):
    """A rule for initial values: called with a shape and a dtype, returns a new array."""

    MODULE = "keras.initializers"
    KERAS_2_DROPS = frozenset({"dtype"})

    def __call__(self, shape: Shape, dtype: npt.DTypeLike = np.float32) -> Array:
        """New values of this shape, rounded (or cut, for integers) to the dtype."""
        resolved = as_dtype(dtype)
        if isinstance(self, RandomInitializer) and "float" not in resolved.name:
            raise InvalidValue(f"Random values have a floating dtype, but got {resolved.name}.")
        with np.errstate(over="ignore"):
            return self._values(shape).astype(resolved)

    def _values(self, shape: Shape) -> Array:
        name = type(self).__name__
        raise NotSupported(f"{name} has no rule: expected a method __call__(shape, dtype).")


class Zeros(Initializer):
    """All 0."""

    def _values(self, shape: Shape) -> Array:
        return np.zeros(shape)


class Ones(Initializer):
    """All 1."""

    def _values(self, shape: Shape) -> Array:
        return np.ones(shape)


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

    def _values(self, shape: Shape) -> Array:
        values = np.asarray(self.value)
        if values.dtype.kind not in "biufV":
            error = InvalidValue if self.value is None else InvalidType
            raise error(f"Constant expected a number or an array, but got {self.value!r}.")
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

    def _values(self, shape: Shape) -> Array:
        if len(shape) != 2:
            raise InvalidValue(
                "Identity matrix initializer can only be used for 2D matrices, but got "
                f"shape={shape} of rank {len(shape)}."
            )
        return np.asarray(self.gain * np.eye(*shape))


class RandomInitializer(Initializer):
    """Base of the random ones: the same values at every call of one object."""

    seed: int | None

    def __post_init__(self) -> None:
        """Fix the seed."""
        if self.seed is not None:
            if isinstance(self.seed, bool) or not hasattr(self.seed, "__index__"):
                raise InvalidValue(f"seed must be an integer or None, but got {self.seed!r}.")
            self.seed = operator.index(self.seed)
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
class Normal(RandomInitializer):
    """Base of the two normal ones."""

    CUT: ClassVar[bool] = False

    mean: float = 0.0
    stddev: float = 0.05
    seed: int | None = None

    def _values(self, shape: Shape) -> Array:
        return self._normal(shape, self.mean, self.stddev, cut=self.CUT)


class RandomNormal(Normal):
    """Normal with this mean and standard deviation."""


class TruncatedNormal(Normal):
    """Normal, drawn again outside mean ± 2 stddev (so its own deviation is 0.88 stddev)."""

    CUT = True


@dataclass(eq=False)
class RandomUniform(RandomInitializer):
    """Uniform between minval and maxval."""

    minval: float = -0.05
    maxval: float = 0.05
    seed: int | None = None

    def _values(self, shape: Shape) -> Array:
        return self._uniform(shape, self.minval, self.maxval)


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

    def _values(self, shape: Shape) -> Array:
        return self._scaled(shape, self.scale, self.mode, self.distribution)


@dataclass(eq=False)
class NamedScaling(ScaledInitializer):
    """Base of the named cases of VarianceScaling: scale, fan and distribution."""

    RULE: ClassVar[tuple[float, str, str]]

    seed: int | None = None
    input_axes: Axes = None
    output_axes: Axes = None

    def __init_subclass__(cls, rule: tuple[float, str, str], **more: Any) -> None:
        super().__init_subclass__(**more)
        cls.RULE = rule

    def _values(self, shape: Shape) -> Array:
        return self._scaled(shape, *self.RULE)


class GlorotUniform(NamedScaling, rule=(1.0, "fan_avg", "uniform")):
    """Uniform with variance 1 / fan_avg."""


class GlorotNormal(NamedScaling, rule=(1.0, "fan_avg", "truncated_normal")):
    """Truncated normal with variance 1 / fan_avg."""


class HeUniform(NamedScaling, rule=(2.0, "fan_in", "uniform")):
    """Uniform with variance 2 / fan_in."""


class HeNormal(NamedScaling, rule=(2.0, "fan_in", "truncated_normal")):
    """Truncated normal with variance 2 / fan_in."""


class LecunUniform(NamedScaling, rule=(1.0, "fan_in", "uniform")):
    """Uniform with variance 1 / fan_in."""


class LecunNormal(NamedScaling, rule=(1.0, "fan_in", "truncated_normal")):
    """Truncated normal with variance 1 / fan_in."""


@dataclass(eq=False)
class Orthogonal(RandomInitializer):
    """A random orthogonal matrix times gain; for rank 2 and more, the leading axes being rows."""

    gain: float = 1.0
    seed: int | None = None

    def _values(self, shape: Shape) -> Array:
        if len(shape) < 2:
            raise InvalidValue(
                "The tensor to initialize must be at least two-dimensional, but got "
                f"shape={shape} of rank {len(shape)}: Orthogonal can't initialize a vector."
            )
        rows, columns = math.prod(shape[:-1]), shape[-1]
        q, r = np.linalg.qr(self._normal((max(rows, columns), min(rows, columns)), 0.0, 1.0))
        q = q * np.sign(np.diag(r))
        return np.asarray(self.gain * (q.T if rows < columns else q)).reshape(shape)


InitializerLike: TypeAlias = (
    str | Mapping[str, Any] | Initializer | type[Initializer] | Callable[..., Any] | None
)
"""What Keras 2 takes."""
KerasInitializerLike: TypeAlias = InitializerLike | npt.NDArray[Any] | np.generic
"""What Keras 3 takes: arrays too."""

_SCALED: tuple[type[Initializer], ...] = tuple(NamedScaling.__subclasses__())
_OTHERS: tuple[type[Initializer], ...] = (
    *(Constant, Identity, Ones, Orthogonal, RandomNormal, RandomUniform),
    *(TruncatedNormal, VarianceScaling, Zeros),
)
_SHORT = {"normal": RandomNormal, "one": Ones, "uniform": RandomUniform, "zero": Zeros}
_BOTH: dict[str, type[Initializer]] = {**names_of(_SCALED + _OTHERS), **_SHORT}
_V2 = {f"{name}V2": cls for name, cls in names_of(_SCALED).items()}
_V2 |= {f"{cls.__name__}V2": cls for cls in _OTHERS}
_KERAS_3 = {"IdentityInitializer": Identity, "OrthogonalInitializer": Orthogonal}
_FAMILY = Family("initializer", {"tf_keras": _BOTH | _V2, "keras": _BOTH | _KERAS_3})
serialize = _FAMILY.serialize


def is_constant(value: Any) -> TypeGuard[Constant]:
    """Whether it is an initializer that fills with a value that it is given."""
    return isinstance(value, Constant)


def is_plain(value: Any) -> TypeGuard[Zeros | Ones]:
    """Whether it is an initializer of which its name says all, in any framework that has it."""
    return isinstance(value, Zeros | Ones)


def get(identifier: KerasInitializerLike, dialect: Dialect) -> Callable[..., Any] | None:
    """The initializer that an argument stands for: `Family.get`, and for Keras 3 an array.

    >>> get("random_normal", "keras")
    RandomNormal(mean=0.0, stddev=0.05, seed=None)
    """
    if dialect == "keras" and isinstance(identifier, np.ndarray | np.generic):
        return _array_function(np.array(identifier))
    return _FAMILY.get(identifier, dialect)


def initial_value(
    initializer: Callable[..., Any] | None, shape: Shape, dtype: npt.DTypeLike, dialect: Dialect
) -> Array:
    """A Keras variable's first value; without an initializer Glorot uniform (0 for integers).

    Raises:
        ValueError: the initializer can't fill this shape or dtype, or gives another shape.
        TypeError: it gives no numbers, or can't be called with shape and dtype.

    >>> initial_value(Constant(2), (3,), "float32", "keras")
    array([2., 2., 2.], dtype=float32)
    """
    resolved = as_dtype(dtype)
    if initializer is None:
        if dialect == "tf_keras" and resolved.kind == "c":
            raise InvalidValue(f"An initializer is required for {resolved.name}, but got None.")
        initializer = GlorotUniform() if "float" in resolved.name else Zeros()
    values = np.array(initializer(shape, dtype=resolved))
    if values.dtype.kind in "OSU":
        error = InvalidValue if values.dtype.kind == "O" else InvalidType
        raise error(f"Expected numbers from the initializer {initializer!r}, but got {values!r}.")
    if values.shape != shape:
        raise InvalidValue(
            f"Expected values of shape {shape} from the initializer {initializer!r}, but got "
            f"shape {values.shape}."
        )
    return values.astype(resolved)


def _array_function(values: npt.NDArray[Any]) -> Callable[..., Array]:
    def initialize_fn(shape: Shape, dtype: npt.DTypeLike = np.float32) -> Array:  # Keras 3's name
        if values.shape != shape:
            raise InvalidValue(f"Expected `shape` to be the array's, {values.shape}, got {shape}.")
        return values.astype(as_dtype(dtype))

    return initialize_fn
