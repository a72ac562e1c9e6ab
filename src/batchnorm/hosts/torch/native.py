"""Any dialect's rule by torch's own fused batch norm: every device that torch has one for.

torch normalizes by its own kernels, and moves two vectors of the batch's mean and variance that are
made for this call, with momentum 1. What the dialect's running average wants of these is done on
vectors: forward and backward cost what torch's own layer does, and as much is kept for the
backward. Not here: masks, renorm, ghost batches, one value per channel (`formulas.py`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from batchnorm import core
from batchnorm.frameworks.torch.calls import FunctionCall
from batchnorm.hosts.torch.formulas import Buffers
from batchnorm.hosts.torch.tensors import DTYPES
from batchnorm.vocabulary import Mode

__all__ = ["is_own", "normalize", "suits"]


class _Whole(float):
    """The momentum 1 of this file, by which `is_own` knows the call."""


WHOLE = _Whole(1.0)


def is_own(call: FunctionCall) -> bool:
    """Whether a call of batch norm comes from here, its rule being followed already."""
    return type(call.momentum) is _Whole


def suits(x: Tensor, settings: core.Settings) -> bool:
    """Whether torch's operation gives the numbers of a plain call: it refuses one value."""
    if len(settings.channel_axes) != 1 or x.dtype not in DTYPES or x.dim() < 2:
        return False
    values = x.numel() // max(x.shape[settings.channel_axes[0]], 1)
    return values > (0 if settings.mode is Mode.RUNNING else 1)


def normalize(
    x: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    buffers: Buffers,
    settings: core.Settings,
) -> Tensor:
    """batch_norm(x), with the buffers moved as the settings say."""
    (axis,) = settings.channel_axes
    given = x if axis == 1 else x.movedim(axis, 1)
    kind = x.dtype if x.dtype is torch.float64 else torch.float32
    if x.dtype is not torch.float64 and _alike(x.dtype, gamma, beta):
        kind = x.dtype
    gamma, beta = _vector(gamma, kind), _vector(beta, kind)
    update = settings.mode is Mode.BATCH_AND_UPDATE and buffers.mean is not None
    mean = var = None
    if settings.mode is Mode.RUNNING:
        mean, var = _vector(buffers.mean, kind), _vector(buffers.var, kind)
    elif update:
        mean, var = (x.new_zeros(given.shape[1], dtype=kind) for _ in range(2))
    batch = settings.mode is not Mode.RUNNING
    epsilon = settings.epsilon
    if torch.compiler.is_compiling():  # which knows plain numbers alone
        enabled = torch.backends.cudnn.enabled
        y = torch.batch_norm(given, gamma, beta, mean, var, batch, 1.0, epsilon, enabled)
    else:
        y = functional.batch_norm(given, mean, var, gamma, beta, batch, WHOLE, epsilon)
    if update:
        assert mean is not None
        assert var is not None
        values = given.numel() // given.shape[1]
        with torch.no_grad():
            scale = 1.0 if settings.correction else (values - 1) / values
            factor = settings.exponential_average_factor
            _move(buffers.mean, mean, factor, 1.0)
            _move(buffers.var, var, factor, scale)
    return y if axis == 1 else y.movedim(1, axis)


def _vector(t: Tensor | None, kind: torch.dtype) -> Tensor | None:
    """Itself wherever it can be, so that nothing more is seen in a trace."""
    return t if t is None or (t.dtype is kind and t.dim() == 1) else t.to(kind).reshape(-1)


def _alike(dtype: torch.dtype, *tensors: Tensor | None) -> bool:
    """Whether all of them, if there are any, have this type."""
    kinds = {t.dtype for t in tensors if t is not None}
    return kinds == {dtype}


def _move(own: Tensor | None, value: Tensor, factor: Any, scale: float) -> None:
    """own = (1 - factor) * own + factor * scale * value, rounded as the buffer's type is."""
    assert own is not None
    value = value.reshape(own.shape)
    if isinstance(factor, float) and own.dtype is value.dtype and own.dtype in DTYPES[:2]:
        own.mul_(1.0 - factor).add_(value, alpha=factor * scale)
        return
    wide = torch.float32 if own.device.type == "mps" else torch.float64
    own.copy_((1.0 - factor) * own.to(wide) + factor * scale * value.to(wide))
