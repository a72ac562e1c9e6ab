"""What counts as an array, and how a foreign one becomes NumPy's.

Taken: NumPy's own arrays and scalars, and whatever exports itself by `__array__` or DLPack: tensors
of torch, jax, TensorFlow and MindSpore on the CPU, without a copy (torch's bfloat16, which NumPy
doesn't know, by the compiled kernel). Not here: which dtypes a framework computes with, and what
it raises for the rest; those are the dialects'.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from batchnorm.errors import InvalidType, InvalidValue
from batchnorm.vocabulary import Array, as_dtype

__all__ = ["as_array", "converted", "is_array"]


def is_array(value: Any) -> bool:
    """Whether a value exports itself as an array; lists and numbers don't.

    >>> is_array(np.float32(1)), is_array([1.0])
    (True, False)
    """
    return hasattr(value, "__array__") or hasattr(value, "__dlpack__")


def as_array(value: Any, what: str = "the input") -> Array:
    """NumPy's view of an array, in the machine's byte order; a copy only where that differs.

    Raises:
        TypeError: the value is no array, or one that NumPy can't see: on another device, sparse,
            or part of a gradient's graph.

    >>> as_array(np.array([1, 2], ">i2")).dtype.isnative
    True
    """
    if not is_array(value):
        raise InvalidType(
            f"{what} must be an array, but got {type(value).__name__!r}: {value!r:.80}"
        )
    try:
        array = np.asarray(value) if hasattr(value, "__array__") else np.from_dlpack(value)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        seen = _bfloat16(value)
        if seen is None:
            raise InvalidType(
                f"{what} is a {type(value).__module__}.{type(value).__name__} that NumPy can't "
                f"see ({error}): give one on the CPU, dense and detached"
            ) from error
        array = seen
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _bfloat16(value: Any) -> Array | None:
    """A bfloat16 tensor's own memory as an array of `ml_dtypes`; None where it isn't one."""
    if not hasattr(value, "__dlpack__"):
        return None
    try:
        from batchnorm._kernel import bits_of

        return np.asarray(bits_of(value)).view(as_dtype("bfloat16"))
    except (ImportError, TypeError, ValueError, RuntimeError, BufferError):
        return None


def converted(value: Any, own: Array, what: str) -> Array:
    """A copy of a value in the type of the array that it is going to replace.

    Raises:
        ValueError: it isn't numeric, or has another shape.

    >>> converted([1, 2], np.zeros(2, np.float32), "gamma")
    array([1., 2.], dtype=float32)
    """
    array = np.asarray(value)
    if array.dtype.kind not in "biufV":
        raise InvalidValue(
            f"{what} must be real numbers, but got dtype {array.dtype}: {value!r:.80}"
        )
    if array.shape != own.shape:
        raise InvalidValue(f"{what} has shape {own.shape}, but got shape {array.shape}")
    with np.errstate(all="ignore"):
        return array.astype(own.dtype)
