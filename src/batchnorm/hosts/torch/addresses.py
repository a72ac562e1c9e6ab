"""Tensors handed to the compiled kernel by their addresses, without arrays in between.

Between two convolutions nothing of ours is in the processor's caches, so that every call into torch
or NumPy costs ten times what it costs in a loop: a batch norm's bookkeeping took longer than its
arithmetic (benchmarks/resnet50_step.py). Here it is one call for each tensor and one for the task.
The kernel can't check an address, so all that it relies on is checked here; what doesn't fit gets
None and goes through `core.forward` and `core.backward`. Not here: autograd (`kernel.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from batchnorm.core import kernel
from batchnorm.hosts.torch.tensors import PLAIN, empty_like, is_channels_last, laid_out_as, takes
from batchnorm.vocabulary import Mode

if TYPE_CHECKING:
    from batchnorm.hosts.torch.kernel import Call

__all__ = ["Layout", "Vectors", "backward", "forward", "vectors"]

ELEMENTS = {torch.float32: 0, torch.float64: 1, torch.float16: 2, torch.bfloat16: 3}
TASKS: Any = getattr(kernel.chosen, "addresses", None)  # the reference takes arrays only
UNFIT = -1


class Layout(NamedTuple):
    """A dense tensor as the kernel sees it."""

    element: int
    outer: int
    channels: int
    inner: int


class Vectors(NamedTuple):
    """Addresses of parameters and buffers, 0 where there is none."""

    gamma: int
    beta: int
    mean: int
    var: int
    batches: int


def forward(
    x: Tensor, gamma: Tensor | None, beta: Tensor | None, addend: Tensor | None, call: Call
) -> Tensor | None:
    """As `core.forward`, with the buffers moved and `call.stats` and `call.layout` set."""
    settings = call.settings
    layout = _layout(x, settings.channel_axes)
    if layout is None or call.processes is not None or not settings.plain:
        return None
    found = call.vectors or vectors(
        x, layout.channels, gamma, beta, call.mean, call.var, call.batches
    )
    if found is None:
        return None
    scale, shift, mean, var, batches = found
    mode = settings.mode
    if mode is Mode.RUNNING and mean == 0:
        return None
    y = empty_like(x)
    addend = None if addend is None else laid_out_as(x, addend)  # may be a copy, held till the end
    other = 0 if addend is None else addend.data_ptr()
    tensors = (x.data_ptr(), y.data_ptr(), other, call.relu, scale, shift)
    if 0 in tensors[:2] or (addend is not None and other == 0) or other % x.element_size():
        return None
    if mode is Mode.RUNNING:
        call.stats = TASKS.infer(*layout, *tensors, mean, var, settings.epsilon)
    else:
        if mode is Mode.BATCH:
            mean = var = 0
        if call.batches is None:
            batches = 0
        numbers = (settings.epsilon, settings.exponential_average_factor, settings.correction)
        call.stats = TASKS.forward(*layout, *tensors, mean, var, batches, *numbers)
        call.count = layout.outer * layout.inner
    call.layout, call.batches = layout, None
    return y


def backward(
    dy: Tensor, x: Tensor, gamma: Tensor | None, y: Tensor | None, needs: Any, call: Call
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None] | None:
    """As `core.backward`: dx, and what is needed of dgamma, dbeta and the addend's gradient."""
    layout = call.layout
    if layout is None or not takes(x) or _layout(x, call.settings.channel_axes) != layout:
        return None  # hooks on saved tensors may give others back
    if y is not None:
        if not takes(y) or y.dtype is not x.dtype or y.shape != x.shape:
            return None
        y = laid_out_as(x, y)
    kind = torch.float64 if x.dtype is torch.float64 else torch.float32
    scale = _vector(gamma, kind, layout.channels)
    dy = laid_out_as(x, dy)
    at = (x.data_ptr(), dy.data_ptr(), 0 if y is None else y.data_ptr())
    if scale == UNFIT or 0 in at[:2] or at[1] % x.element_size():
        return None
    dx = empty_like(x)
    daddend = empty_like(x) if needs[3] else None
    dgamma = torch.empty_like(gamma) if gamma is not None and needs[1] else None
    dbeta = None
    if needs[2]:
        dbeta = (
            torch.empty(layout.channels, dtype=kind) if gamma is None else torch.empty_like(gamma)
        )
    cancelled = TASKS.backward(
        *layout,
        *at,
        dx.data_ptr(),
        0 if daddend is None else daddend.data_ptr(),
        scale,
        0 if dgamma is None else dgamma.data_ptr(),
        0 if dbeta is None else dbeta.data_ptr(),
        call.stats,
        call.count is not None,
        call.settings.epsilon,
    )
    if cancelled:  # only the reference finds the digits that are left
        return None
    return dx, dgamma, dbeta, daddend


def vectors(
    x: Tensor,
    channels: int,
    gamma: Tensor | None,
    beta: Tensor | None,
    mean: Tensor | None,
    var: Tensor | None,
    batches: Tensor | None,
) -> Vectors | None:
    """The addresses of what belongs to a batch norm of x; None where one of them doesn't fit."""
    kind = torch.float64 if x.dtype is torch.float64 else torch.float32
    found = Vectors(
        _vector(gamma, kind, channels),
        _vector(beta, kind, channels),
        _vector(mean, kind, channels),
        _vector(var, kind, channels),
        0 if batches is None else _vector(batches, torch.int64, None),
    )
    return None if UNFIT in found or (mean is None) != (var is None) else found


def _layout(x: Tensor, axes: tuple[int, ...]) -> Layout | None:
    """None where the channels are several axes, or x is not dense with them in one place."""
    if TASKS is None or len(axes) != 1 or x.is_neg():
        return None
    shape, size, axis = x.shape, x.numel(), axes[0]
    channels = shape[axis]
    if size == 0 or x.data_ptr() % x.element_size():
        return None
    if x.is_contiguous():
        inner = 1
        for length in shape[axis + 1 :]:
            inner *= length
    elif axis == 1 and is_channels_last(x):
        inner = 1
    else:
        return None
    return Layout(ELEMENTS[x.dtype], size // (channels * inner), channels, inner)


def _vector(t: Tensor | None, dtype: torch.dtype, count: int | None) -> int:
    """The address of `count` values (None: of one number), 0 for none, `UNFIT` for another."""
    if t is None:
        return 0
    if (
        type(t) in PLAIN
        and t.dtype is dtype
        and t.shape == (() if count is None else (count,))
        and t.is_cpu
        and t.is_contiguous()
        and not t.is_neg()
        and t.data_ptr() % t.element_size() == 0
    ):
        return t.data_ptr() or UNFIT
    return UNFIT
