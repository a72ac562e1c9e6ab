"""MindSpore's initializers: as a layer's argument gives them, and as calls write them.

They are objects of the Keras room, which has the same distributions; here are names and signatures.
Source: mindspore 2.10.0, common/initializer.py, compared in tests/frameworks. Deviations: NumPy
arrays are taken as its own Tensors (0-d ones too), and Keras' classes as its own Initializers;
unseeded ones take their seed from Python's `random`, where MindSpore takes NumPy's.
"""

from __future__ import annotations

import json
import numbers
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from batchnorm.errors import InvalidType, InvalidValue
from batchnorm.frameworks.keras import initializers
from batchnorm.vocabulary import Array

__all__ = ["MAKERS", "InitializerLike", "get", "write"]

PACKAGE = "mindspore.common.initializer"
InitializerLike: TypeAlias = (
    str | float | initializers.Initializer | npt.NDArray[Any] | np.number[Any]
)
"""What MindSpore takes."""

# MindSpore's names, and what they mean for a vector. Its truncated normal cuts at -2 and 2
# themselves, not at that many deviations: at 200 of its deviations, so it cuts nothing.
NAMED: dict[str, Callable[[], initializers.Initializer]] = {
    "zero": initializers.Zeros,
    "zeros": initializers.Zeros,
    "one": initializers.Ones,
    "ones": initializers.Ones,
    "normal": lambda: initializers.RandomNormal(0.0, 0.01),
    "truncatednormal": lambda: initializers.RandomNormal(0.0, 0.01),
    "uniform": lambda: initializers.RandomUniform(-0.07, 0.07),
}
MATRICES = frozenset(
    {"dirac", "identity", "orthogonal", "variancescaling", "henormal", "he_normal"}
    | {"heuniform", "he_uniform", "xaviernormal", "xavier_normal", "xavieruniform"}
    | {"xavier_uniform"}
)


def get(init: InitializerLike, shape: initializers.Shape) -> Callable[..., Array]:
    """The rule that an argument of a MindSpore layer stands for, called with shape and dtype.

    Args:
        init: a name (in any case), a number, an array of exactly this shape, whose dtype is kept,
            or an `Initializer`.
        shape: the entry's shape, (C,).

    Raises:
        ValueError: an unknown name, a name that MindSpore has for matrices only, or an array of
            another shape.
        TypeError: anything else, such as None, a list or a complex number.

    >>> get("Ones", (2,))((2,), "float16")
    array([1., 1.], dtype=float16)
    """
    if isinstance(init, np.ndarray):
        return _copied(init, shape)
    if isinstance(init, initializers.Initializer):
        return init
    if isinstance(init, numbers.Number):
        try:
            return initializers.Constant(float(init))  # a complex number raises here, as there
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
    if name in NAMED:
        return NAMED[name]()
    if name in MATRICES:
        raise InvalidValue(
            f"For {init!r}, the initialized tensor should have 2 or more dimensions, but got "
            f"{len(shape)}. Choose one of {', '.join(NAMED)}."
        )
    if name == "sparse":
        raise InvalidType("Sparse needs a 'sparsity', which a name can't give, and a matrix.")
    raise InvalidValue(
        f"For 'initializer', the class corresponding to {init!r} was not found. Choose one of "
        f"{', '.join(NAMED)}."
    )


def _copied(values: npt.NDArray[Any], shape: initializers.Shape) -> Callable[..., Array]:
    if values.shape != shape:
        raise InvalidValue(
            "For 'initializer', the shape of the 'init' argument should be same as the argument "
            f"'shape', but got the 'init' shape {list(values.shape)} and the 'shape' {list(shape)}."
        )
    return lambda shape, dtype: np.array(values)


def write(value: Any) -> str | None:
    """An initializer as a call writes it; None where there is no such one."""
    match value:
        case initializers.Zeros() | initializers.Ones():
            return json.dumps(type(value).__name__.lower())
        case initializers.Constant(value=constant) if np.ndim(constant) == 0:
            return repr(float(constant))
        case initializers.RandomNormal(mean=mean, stddev=stddev, seed=None):
            rest = f", {float(mean)!r}" if mean else ""
            return f"{PACKAGE}.Normal({float(stddev)!r}{rest})"
        case initializers.RandomUniform(minval=low, maxval=high, seed=None) if low == -high:
            return f"{PACKAGE}.Uniform({float(high)!r})"
    return None


def _normal(sigma: float = 0.01, mean: float = 0.0) -> initializers.RandomNormal:
    return initializers.RandomNormal(mean, sigma)


def _uniform(scale: float = 0.07) -> initializers.RandomUniform:
    return initializers.RandomUniform(-scale, scale)


def _tensor(values: Any) -> Any:
    return np.asarray(values, np.float32)


MAKERS: Mapping[str, Callable[..., Any]] = {
    "Zero": initializers.Zeros,
    "One": initializers.Ones,
    "Constant": initializers.Constant,
    "Normal": _normal,
    "Uniform": _uniform,
    "Tensor": _tensor,
}
"""A call's name -> what makes our object of its arguments."""
