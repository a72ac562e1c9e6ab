"""Tensors as arrays and back, without copies, and which tensors our kernel takes.

Not here: what is done with them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._ops import _len_torch_dispatch_stack_pre_dispatch
from torch.autograd import forward_ad
from torch.overrides import _get_current_function_mode_stack

from batchnorm import core
from batchnorm.frameworks.torch.calls import is_listening
from batchnorm.vocabulary import Array, as_dtype

__all__ = [
    "DTYPES",
    "PLAIN",
    "array_of",
    "dense",
    "empty_like",
    "is_channels_last",
    "laid_out_as",
    "plain",
    "takes",
    "tensor_of",
    "vector_of",
]

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
BFLOAT16 = as_dtype("bfloat16")
PLAIN = (Tensor, torch.nn.Parameter)
LARGE = 32 << 20  # bytes from which malloc asks the system for fresh pages every time


def takes(x: Any, empty: bool = False) -> bool:
    """Whether the kernel can compute on this tensor: real numbers in the CPU's memory, now.

    Not on fake, functional or other special tensors, nor while something is traced, vectorised,
    watched by a dispatch mode or differentiated forwards: those need operations that torch itself
    can see.
    """
    return (
        plain(x)
        and x.is_cpu
        and x.dtype in DTYPES
        and x.layout is torch.strided
        and not x.is_neg()
        and (empty or x.numel() > 0)
    )


def plain(x: Any) -> bool:
    """Whether it is a tensor and nothing but, and nobody has to see each operation on it."""
    return (
        type(x) in PLAIN
        and not torch.compiler.is_compiling()
        and forward_ad._current_level < 0
        and not torch._C._are_functorch_transforms_active()
        and not torch._C._len_torch_dispatch_stack()
        and not _len_torch_dispatch_stack_pre_dispatch()
        and not torch._C._is_tracing()
        and (not torch._C._len_torch_function_stack() or not _is_listened_to())
    )


def _is_listened_to() -> bool:
    """Whether a mode sees each of torch's functions, that isn't ours."""
    return not all(map(is_listening, _get_current_function_mode_stack()))


def array_of(tensor: Tensor) -> Array:
    """The tensor's own memory as an array."""
    tensor = tensor.detach().resolve_neg()
    if tensor.dtype is torch.bfloat16:  # NumPy has none of its own, so its bits travel
        return np.asarray(tensor.view(torch.int16).numpy().view(BFLOAT16))
    return np.asarray(tensor.numpy())


def tensor_of(array: Array) -> Tensor:
    """The array's own memory as a tensor, which keeps the array alive."""
    if array.dtype == BFLOAT16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def vector_of(tensor: Tensor | None) -> Array | None:
    """A parameter as the kernel takes it: one value per channel, of at least 32 bits."""
    if tensor is None:
        return None
    wide = tensor.detach().resolve_neg()
    if wide.dtype not in (torch.float32, torch.float64):
        wide = wide.to(torch.float32)
    return np.asarray(wide.reshape(-1).numpy())


def dense(x: Tensor) -> Tensor:
    """The tensor itself where torch would lay out its own result so, else a contiguous copy."""
    if x.is_contiguous() or is_channels_last(x):
        return x
    return x.contiguous()


def is_channels_last(x: Tensor) -> bool:
    """Whether the second axis lies innermost, in one of torch's two formats of that kind."""
    form = {4: torch.channels_last, 5: torch.channels_last_3d}.get(x.dim())
    return form is not None and bool(x.is_contiguous(memory_format=form))


def laid_out_as(x: Tensor, other: Tensor) -> Tensor:
    """A tensor with the strides and type of x, a copy only where it has others."""
    if other.dtype is x.dtype and other.stride() == x.stride() and not other.is_neg():
        return other
    return torch.empty_like(x).copy_(other.detach())


def empty_like(x: Tensor) -> Tensor:
    """Memory for a result laid out as the dense x: torch's own, or of large results given back."""
    if x.nbytes < LARGE:
        return torch.empty_like(x)
    return tensor_of(core.empty_like(array_of(x)))
