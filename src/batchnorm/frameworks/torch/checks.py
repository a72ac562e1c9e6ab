"""What torch refuses, at construction and at the call, in its order, and the tensors it makes.

Source: PyTorch 2.13.0, torch/nn/functional.py and aten/src/ATen/native/Normalization.cpp. Not here:
what the layer does with what is accepted (`torch.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from batchnorm import core
from batchnorm.errors import InvalidRuntime, InvalidType, InvalidValue, NotSupported
from batchnorm.vocabulary import Array, as_dtype

__all__ = ["FLOATING", "check_arrays", "check_call", "check_device", "empty_like", "new_parameter"]

SIXTEEN_BIT = (np.dtype(np.float16), as_dtype("bfloat16"))
FLOATING = (np.dtype(np.float32), np.dtype(np.float64), *SIXTEEN_BIT)


def check_device(device: Any) -> None:
    """Arrays are NumPy's, so there is one device."""
    if device is None or re.fullmatch(r"cpu(:\d+)?", str(device)):
        return
    error = InvalidType if isinstance(device, float | list | tuple) else InvalidRuntime
    raise error(f"device must be None or 'cpu' (arrays are NumPy's), got {device!r}")


def new_parameter(num_features: Any, value: float, dtype: Any, trained: bool = True) -> Array:
    """A parameter of the given size, filled with one value, checked as torch.empty checks it.

    One that isn't `trained`, a buffer, may be of any dtype.
    """
    sizes = num_features if isinstance(num_features, tuple | list) else (num_features,)
    for size in sizes:
        if isinstance(size, bool) or not hasattr(size, "__index__"):
            raise InvalidType(f"num_features must be an int, not {type(size).__name__}: {size!r}")
        if int(size) < 0:
            raise InvalidRuntime(f"num_features must not be negative, but got {size}")
        if int(size) >= 2**63:
            raise InvalidType(f"num_features must fit into 64 bits, but got {size}")
    try:
        resolved = np.dtype(np.float32) if dtype is None else as_dtype(dtype)
    except TypeError:
        raise InvalidType(f"dtype must be a NumPy dtype or its name, but got {dtype!r}") from None
    if trained and resolved.kind not in "fc" and resolved not in FLOATING:
        raise InvalidRuntime(
            f"only floating point and complex dtypes can require gradients, got {resolved.name}"
        )
    try:
        return np.full([int(size) for size in sizes], value, resolved)
    except (MemoryError, ValueError):
        raise InvalidRuntime(f"num_features is more than memory holds: {num_features}") from None


def empty_like(x: Array) -> Array:
    """An output laid out as torch lays it out: channels last stays so, all else is contiguous."""
    if x.flags.c_contiguous:
        return core.empty_like(x)
    last = x.ndim > 3 and np.moveaxis(x, 1, -1).flags.c_contiguous
    return core.empty_like(x, contiguous=not last)


def check_call(shape: tuple[int, ...], values: int, eps: Any, factor: Any, batch: bool) -> None:
    """What torch's function checks; `batch` says whether batch statistics will normalize.

    `values` is the number per channel, in all replicas together.
    """
    if batch and values == 1:
        raise InvalidValue(
            f"Expected more than 1 value per channel when training, got input size {shape}"
        )
    if not hasattr(eps, "__float__"):
        raise InvalidType(f"eps must be a float, but got {eps!r}")
    if batch and eps <= 0.0:
        raise InvalidValue(f"batch_norm eps must be positive during training, got {eps}")
    if eps < 0.0:
        raise InvalidValue(f"batch_norm eps must be non-negative, but got {eps}")
    if not isinstance(factor, int | float | np.floating | np.integer):
        raise InvalidType(f"momentum must be float or None, not {type(factor).__name__}")


def check_arrays(
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    buffers: Mapping[str, Array | None],
    parameters: Mapping[str, Array | None],
    training: bool,
) -> None:
    """What torch's kernels check; `buffers` are those that the call uses, missing ones as None."""
    present = {name: buffer for name, buffer in buffers.items() if buffer is not None}
    missing = [name for name in buffers if name not in present]
    if present and missing and not training:
        raise InvalidRuntime(f"{missing[0]} must be defined in evaluation mode")
    if present and missing:
        raise InvalidValue(
            "running_mean and running_var must either both be None or neither be None, "
            f"but only {next(iter(present))} is there"
        )
    for name, value in present.items():
        if value.ndim != 1 and value.size == shape[1]:
            raise InvalidRuntime(f"{name} must have 1 dimension, but its shape is {value.shape}")
    present |= {name: value for name, value in parameters.items() if value is not None}
    for name, value in present.items():
        if value.size != shape[1]:
            raise InvalidRuntime(f"{name} should contain {shape[1]} elements not {value.size}")
    if dtype not in FLOATING:
        raise NotSupported(f'"batch_norm" not implemented for {dtype.name!r}')
    dtypes = {value.dtype for value in present.values()}
    mixed = dtype in SIXTEEN_BIT and dtypes == {np.dtype(np.float32)}
    if dtypes - {dtype} and not mixed:
        raise InvalidRuntime(
            "mixed dtype: input and parameters must share one dtype, or the input have 16 bits "
            f"and the parameters be float32; got input {dtype.name} and parameters "
            f"{sorted(d.name for d in dtypes)}"
        )
