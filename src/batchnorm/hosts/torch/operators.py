"""The operators that torch.compile sees: our kernel as `batchnorm::forward` and `::backward`.

torch registers autograd only for operators that mutate nothing, so they give the statistics, and
`normalize` moves the buffers from them. A call costs some 25 µs more than an autograd.Function's,
so eager mode doesn't come here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from batchnorm import core
from batchnorm.hosts.torch.formulas import Buffers
from batchnorm.hosts.torch.tensors import array_of, dense, laid_out_as, tensor_of, vector_of
from batchnorm.vocabulary import Mode

__all__ = ["normalize"]


@torch.library.custom_op("batchnorm::forward", mutates_args=(), device_types="cpu")
def forward(
    x: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    addend: Tensor | None,
    mean: Tensor | None,
    var: Tensor | None,
    axes: Sequence[int],
    epsilon: float,
    correction: int,
    relu: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The result; the statistics for the running average; those for the backward.

    With `mean` and `var` these normalize, else the batch's own. The second has two rows, mean and
    variance with `correction`; the third mean, residual and inv_std.
    """
    x = dense(x)
    channels = int(np.prod([x.shape[axis] for axis in axes]))
    if mean is not None and var is not None:
        mode, running = Mode.RUNNING, core.Running(_double(mean), _double(var))
    else:  # factor 1: what comes back are the batch's own
        mode = Mode.BATCH_AND_UPDATE
        running = core.Running(np.zeros(channels), np.zeros(channels))
    settings = core.Settings(tuple(axes), mode, epsilon, 1.0, correction)
    other = None if addend is None else array_of(laid_out_as(x, addend))
    y, moved, saved = core.forward(
        array_of(x), vector_of(gamma), vector_of(beta), running, settings, addend=other, relu=relu
    )
    assert moved is not None
    rows = torch.from_numpy(np.stack([moved.mean, moved.var]))
    return tensor_of(y), rows, torch.from_numpy(np.array(saved.stats[:3]))


@forward.register_fake
def _(
    x: Tensor,
    gamma: Any,
    beta: Any,
    addend: Any,
    mean: Any,
    var: Any,
    axes: Sequence[int],
    epsilon: float,
    correction: int,
    relu: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    channels = _channels(x, axes)
    rows = (x.new_empty((n, channels), dtype=torch.float64) for n in (2, 3))
    return torch.empty_like(dense(x)), *rows


@torch.library.custom_op("batchnorm::backward", mutates_args=(), device_types="cpu")
def backward(
    dy: Tensor,
    x: Tensor,
    gamma: Tensor | None,
    y: Tensor | None,
    stats: Tensor,
    axes: Sequence[int],
    epsilon: float,
    batch: bool,
    addend: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gradients of x, gamma, beta and, where there is one, the addend."""
    x = dense(x)
    count = x.numel() / stats.shape[1] if batch else None
    settings = core.Settings(tuple(axes), Mode.BATCH if batch else Mode.RUNNING, epsilon)
    result = None if y is None else array_of(laid_out_as(x, y))
    values = (array_of(x), settings, vector_of(gamma), array_of(stats.contiguous()))
    saved = core.Saved(*values, count, y=result)
    daddend = torch.empty_like(x) if addend else x.new_empty(0)
    masked = array_of(daddend) if addend else None
    dx, dgamma, dbeta = core.backward(saved, array_of(laid_out_as(x, dy)), out_addend=masked)
    sums = (torch.from_numpy(np.array(value)) for value in (dgamma, dbeta))
    return tensor_of(dx), *sums, daddend


@backward.register_fake
def _(
    dy: Tensor,
    x: Tensor,
    gamma: Any,
    y: Any,
    stats: Tensor,
    axes: Sequence[int],
    epsilon: float,
    batch: bool,
    addend: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    like = dense(x)
    sums = (x.new_empty(stats.shape[1], dtype=torch.float64) for _ in range(2))
    return torch.empty_like(like), *sums, torch.empty_like(like) if addend else x.new_empty(0)


def _setup(ctx: Any, inputs: Any, output: Any) -> None:
    x, gamma, beta, addend, mean, _, axes, epsilon, _, relu = inputs
    y, _, stats = output
    ctx.axes, ctx.epsilon, ctx.batch = axes, epsilon, mean is None
    ctx.has_addend = addend is not None
    ctx.save_for_backward(x, gamma, beta, y if relu else None, stats)
    ctx.mark_non_differentiable(*output[1:])


def _backward(ctx: Any, dy: Tensor, *_: Any) -> Any:
    x, gamma, beta, y, stats = ctx.saved_tensors
    known = (ctx.axes, ctx.epsilon, ctx.batch, ctx.has_addend)
    dx, dgamma, dbeta, daddend = backward(dy, x, gamma, y, stats, *known)
    own = (
        None if p is None else g.to(p.dtype).reshape(p.shape)
        for g, p in ((dgamma, gamma), (dbeta, beta))
    )
    return (dx, *own, daddend if ctx.has_addend else None, *(None,) * 6)


forward.register_autograd(_backward, setup_context=_setup)


def normalize(
    x: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    addend: Tensor | None,
    buffers: Buffers,
    settings: core.Settings,
    relu: bool,
) -> Tensor:
    """Through the operator, with the buffers moved."""
    running = settings.mode is Mode.RUNNING
    mean, var = (buffers.mean, buffers.var) if running else (None, None)
    given = (settings.channel_axes, settings.epsilon, settings.correction, relu)
    result: Tensor
    result, rows, _ = forward(x, gamma, beta, addend, mean, var, *given)
    if settings.mode is Mode.BATCH_AND_UPDATE and buffers.mean is not None:
        factor = settings.exponential_average_factor
        with torch.no_grad():
            for own, value in zip(buffers[:2], rows.detach(), strict=True):
                assert own is not None
                old = own.to(torch.float64).reshape(-1)
                own.copy_(((1.0 - factor) * old + factor * value).reshape(own.shape))
    return result


def _channels(x: Tensor, axes: Sequence[int]) -> int:
    channels = 1
    for axis in axes:
        channels = channels * x.shape[axis]
    return channels


def _double(tensor: Tensor) -> Any:
    return tensor.detach().to(torch.float64).reshape(-1).numpy()
