"""Initial values as a layer's argument gives them, by the rules of Keras 2, Keras 3 and MindSpore.

The classes carry Keras' names and signatures (`constant_initializers`, `random_initializers`);
MindSpore's names are found by `get_mindspore`. Not here: which entry is initialized when.

Facts: tf_keras 2.21.0 and keras 3.15.1 (src/initializers), mindspore 2.10.0
(common/initializer.py), compared in tests/frameworks. Listed deviations, beside `objects`':
- Random ones draw other numbers than the framework, from the same distribution. Unseeded ones take
  their seed from Python's `random`, as Keras does (MindSpore takes NumPy's). As in Keras, one
  object returns the same values at every call.
- `seed` is any integer: Keras 3 refuses NumPy's, and takes a SeedGenerator, which is not here.
- Random ones need a floating dtype. Constant(2.5) for int32 gives 2 (Keras 2: TypeError), and an
  array that doesn't fit is `ValueError` (Keras 2: TypeError). A Constant beyond the dtype's range
  is inf, as in Keras 2 and MindSpore (Keras 3 on TensorFlow: ValueError), 1j is TypeError.
- A function's values of a wrong shape are `ValueError`, as in Keras 2; Keras 3 lets them pass.
- The names of the abstract Initializer and of STFT (rank 3 only) are unknown here: `ValueError` at
  construction instead of an error at build.
- MindSpore: NumPy arrays are taken as its own Tensors (0-d ones too), and Keras' classes as its
  own Initializers.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeGuard

import numpy as np
import numpy.typing as npt

from batchnorm.errors import InvalidType, InvalidValue
from batchnorm.frameworks.keras.constant_initializers import (
    Constant,
    Identity,
    Initializer,
    Ones,
    Shape,
    Zeros,
)
from batchnorm.frameworks.keras.objects import Dialect, Family, names_of
from batchnorm.frameworks.keras.random_initializers import (
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    LecunNormal,
    LecunUniform,
    Orthogonal,
    RandomNormal,
    RandomUniform,
    TruncatedNormal,
    VarianceScaling,
)
from batchnorm.vocabulary import Array, as_dtype

__all__ = [
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Identity",
    "Initializer",
    "InitializerLike",
    "KerasInitializerLike",
    "LecunNormal",
    "LecunUniform",
    "MindSporeInitializerLike",
    "Ones",
    "Orthogonal",
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
    "get",
    "get_mindspore",
    "initial_value",
    "is_constant",
    "is_plain",
    "serialize",
]

InitializerLike: TypeAlias = (
    str | Mapping[str, Any] | Initializer | type[Initializer] | Callable[..., Any] | None
)
"""What Keras 2 takes."""
KerasInitializerLike: TypeAlias = InitializerLike | npt.NDArray[Any] | np.generic
"""What Keras 3 takes: arrays too."""
MindSporeInitializerLike: TypeAlias = str | float | Initializer | npt.NDArray[Any] | np.number[Any]
"""What MindSpore takes."""

_SCALED: tuple[type[Initializer], ...] = (
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    LecunNormal,
    LecunUniform,
)
_OTHERS: tuple[type[Initializer], ...] = (
    Constant,
    Identity,
    Ones,
    Orthogonal,
    RandomNormal,
    RandomUniform,
    TruncatedNormal,
    VarianceScaling,
    Zeros,
)
_BOTH: dict[str, type[Initializer]] = {
    **names_of(_SCALED + _OTHERS),
    "normal": RandomNormal,
    "one": Ones,
    "uniform": RandomUniform,
    "zero": Zeros,
}
_V2 = {f"{name}V2": cls for name, cls in names_of(_SCALED).items()}
_V2 |= {f"{cls.__name__}V2": cls for cls in _OTHERS}
_KERAS_3 = {"IdentityInitializer": Identity, "OrthogonalInitializer": Orthogonal}
_FAMILY = Family("initializer", {"tf_keras": _BOTH | _V2, "keras": _BOTH | _KERAS_3})

# MindSpore's names, and what they mean for a vector. Its truncated normal cuts at -2 and 2
# themselves, not at that many deviations: at 200 of its deviations, so it cuts nothing.
_MINDSPORE: dict[str, Callable[[], Initializer]] = {
    "zero": Zeros,
    "zeros": Zeros,
    "one": Ones,
    "ones": Ones,
    "normal": lambda: RandomNormal(0.0, 0.01),
    "truncatednormal": lambda: RandomNormal(0.0, 0.01),
    "uniform": lambda: RandomUniform(-0.07, 0.07),
}
_MINDSPORE_MATRICES = frozenset(
    {"dirac", "identity", "orthogonal", "variancescaling", "henormal", "he_normal"}
    | {"heuniform", "he_uniform", "xaviernormal", "xavier_normal", "xavieruniform"}
    | {"xavier_uniform"}
)


def is_constant(initializer: Any) -> TypeGuard[Constant]:
    """Whether an initializer fills with a value that it is given."""
    return isinstance(initializer, Constant)


def is_plain(initializer: Any) -> TypeGuard[Zeros | Ones]:
    """Whether its name says all of an initializer, in any of the frameworks that have it."""
    return isinstance(initializer, Zeros | Ones)


def get(identifier: KerasInitializerLike, dialect: Dialect) -> Callable[..., Any] | None:
    """The initializer that an argument of a Keras layer stands for.

    Args:
        identifier: a name, a dictionary as `serialize` writes it, an initializer or its class, a
            function of (shape, dtype), None, and for Keras 3 an array of the entry's shape.
        dialect: "tf_keras" or "keras".

    Raises:
        ValueError: an unknown name, or nothing that the dialect takes (numbers; arrays in Keras 2).
        TypeError: a dictionary with arguments that the class doesn't have.
        AttributeError: an old Keras 2 dictionary whose config is no dictionary.

    >>> get("random_normal", "keras")
    RandomNormal(mean=0.0, stddev=0.05, seed=None)
    """
    if dialect == "keras" and isinstance(identifier, np.ndarray | np.generic):
        return _array_function(np.array(identifier))
    return _FAMILY.get(identifier, dialect)


def serialize(initializer: Callable[..., Any] | None, dialect: Dialect) -> Any:
    """What the dialect's `get_config()` holds for an initializer.

    >>> serialize(Ones(), "keras")["class_name"]
    'Ones'
    """
    return _FAMILY.serialize(initializer, dialect)


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


def get_mindspore(init: MindSporeInitializerLike, shape: Shape) -> Callable[..., Array]:
    """The rule that an argument of a MindSpore layer stands for, called with shape and dtype.

    Args:
        init: a name (in any case), a number, an array of exactly this shape, whose dtype is kept,
            or an `Initializer`.
        shape: the entry's shape, (C,).

    Raises:
        ValueError: an unknown name, a name that MindSpore has for matrices only, or an array of
            another shape.
        TypeError: anything else, such as None, a list or a complex number.

    >>> get_mindspore("Ones", (2,))((2,), "float16")
    array([1., 1.], dtype=float16)
    """
    if isinstance(init, np.ndarray):
        return _tensor(init, shape)
    if isinstance(init, Initializer):
        return init
    if isinstance(init, numbers.Number):
        try:
            return Constant(float(init))  # a complex number raises here, as there
        except TypeError:
            raise InvalidType(
                f"For 'initializer', a number must be real, but got {init!r}."
            ) from None
    if not isinstance(init, str):
        raise InvalidType(
            "For 'initializer', the type of the 'init' argument should be 'Tensor', 'number', "
            f"'string' or 'initializer', but got {type(init)}. Give a NumPy array for a Tensor."
        )
    name = init.lower()
    if name in _MINDSPORE:
        return _MINDSPORE[name]()
    if name in _MINDSPORE_MATRICES:
        raise InvalidValue(
            f"For {init!r}, the initialized tensor should have 2 or more dimensions, but got "
            f"{len(shape)}. Choose one of {', '.join(_MINDSPORE)}."
        )
    if name == "sparse":
        raise InvalidType("Sparse needs a 'sparsity', which a name can't give, and a matrix.")
    raise InvalidValue(
        f"For 'initializer', the class corresponding to {init!r} was not found. Choose one of "
        f"{', '.join(_MINDSPORE)}."
    )


def _tensor(values: npt.NDArray[Any], shape: Shape) -> Callable[..., Array]:
    if values.shape != shape:
        raise InvalidValue(
            "For 'initializer', the shape of the 'init' argument should be same as the argument "
            f"'shape', but got the 'init' shape {list(values.shape)} and the 'shape' {list(shape)}."
        )
    return lambda shape, dtype: np.array(values)


def _array_function(values: npt.NDArray[Any]) -> Callable[..., Array]:
    def initialize_fn(shape: Shape, dtype: npt.DTypeLike = np.float32) -> Array:  # Keras 3's name
        if values.shape != shape:
            raise InvalidValue(
                f"Expected `shape` to be {values.shape}, that of the array given as initializer, "
                f"but got shape={shape}."
            )
        return values.astype(as_dtype(dtype))

    return initialize_fn
