"""Batch normalization in torch's own operations: any device, any setting, anything traced.

What `core.forward` defines, for tensors that our kernel can't compute on and for settings that it
leaves to the reference: batch renormalization, ghost batches, masks, adjustments. torch
differentiates it. Sums are taken in float64 on the CPU and for float64 tensors, else in float32;
the variance is of deviations from the mean. Not here: the choice between this and the kernel.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from batchnorm import core
from batchnorm.hosts.torch.processes import Processes
from batchnorm.vocabulary import Mode

__all__ = ["Adjusted", "Buffers", "normalize", "width"]


class Buffers(NamedTuple):
    """The running statistics of a module, which a forward moves in place."""

    mean: Tensor | None = None
    var: Tensor | None = None
    stddev: Tensor | None = None
    renorm_mean: Tensor | None = None
    renorm_stddev: Tensor | None = None


class Adjusted(NamedTuple):
    """Keras 2's adjustment of the normalized values: x_hat * scale + bias."""

    scale: Tensor
    bias: Tensor


def normalize(
    x: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    buffers: Buffers,
    settings: core.Settings,
    *,
    weights: Tensor | None = None,
    adjusted: Adjusted | None = None,
    processes: Processes | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """The result in `dtype` (None: that of x), with the buffers moved as the settings say."""
    wide = width(x)
    axes, groups = settings.channel_axes, settings.groups
    shape = [x.shape[axis] if axis in axes else 1 for axis in range(x.dim())]
    rest = [axis for axis in range(x.dim()) if axis not in axes]
    values = x.to(wide)

    def spread(t: Any) -> Any:
        """A vector of one value per channel, shared by the ghost batches, against x."""
        if t is None:
            return None
        t = t.to(wide).reshape(-1)
        return (t if groups == 1 else t.repeat(groups)).reshape(shape)

    def total(t: Tensor) -> Tensor:
        t = t.sum(rest, keepdim=True) if rest else t
        return t if processes is None else processes.total(t)

    r = d = None
    if settings.mode is Mode.RUNNING:
        mean, var = spread(buffers.mean), spread(buffers.var)
        deviations = values - mean
    else:
        w = torch.ones_like(values) if weights is None else weights.to(wide).expand_as(values)
        own = total(w)
        smallest = max(settings.count_offset, torch.finfo(wide).tiny)
        count = own + smallest if settings.count_offset else own
        counted = values if weights is None else _counted(values, w)
        mean = total(counted) / count
        deviations = values - mean
        squares = deviations * deviations
        var = total(squares if weights is None else _counted(squares, w)) / count
        if settings.renorm is not None and buffers.renorm_mean is not None:
            pooled = _pool(mean, groups), _pool(var, groups)
            r, d = (spread(_kept(t)) for t in _correction(*pooled, buffers, settings, wide))
        if settings.mode is Mode.BATCH_AND_UPDATE and buffers.mean is not None:
            averaged = var
            if settings.correction:
                averaged = var * (own / (own - settings.correction))
            with torch.no_grad():
                _move(buffers, _pool(mean, groups), _pool(averaged, groups), settings, wide)
    y = deviations / torch.sqrt(var + settings.epsilon)
    if r is not None:
        y = y * r + d
    if adjusted is not None:
        y = y * adjusted.scale.to(wide) + adjusted.bias.to(wide)
    if gamma is not None:
        y = y * spread(gamma)
    if beta is not None:
        y = y + spread(beta)
    return y.to(dtype or x.dtype)


def width(x: Tensor) -> torch.dtype:
    """The type of sums."""
    here = x.device.type in ("cpu", "meta")
    return torch.float64 if here or x.dtype is torch.float64 else torch.float32


def _counted(values: Tensor, w: Tensor) -> Tensor:
    """Values times weights; a weight of 0 leaves a value out, NaN and inf included."""
    return torch.where(w == 0, torch.zeros((), dtype=w.dtype, device=w.device), values * w)


def _pool(t: Tensor, groups: int) -> Tensor:
    """The average over ghost batches, as a vector, without its gradient."""
    t = t.detach().reshape(-1)
    return t if groups == 1 else t.reshape(groups, -1).mean(0)


def _correction(
    mean: Tensor, var: Tensor, buffers: Buffers, settings: core.Settings, wide: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Renorm's r and d, from the averages before this batch's update."""
    renorm = settings.renorm
    assert renorm is not None
    assert buffers.renorm_mean is not None
    assert buffers.renorm_stddev is not None
    stddev = buffers.renorm_stddev.to(wide).reshape(-1).clamp_min(settings.least_stddev)
    r = torch.sqrt(var + settings.epsilon) / stddev
    d = (mean - buffers.renorm_mean.to(wide).reshape(-1)) / stddev
    r = r if renorm.rmin is None else r.clamp_min(renorm.rmin)
    r = r if renorm.rmax is None else r.clamp_max(renorm.rmax)
    d = d if renorm.dmax is None else d.clamp(-renorm.dmax, renorm.dmax)
    return r, d


def _move(
    buffers: Buffers, mean: Tensor, var: Tensor, settings: core.Settings, wide: torch.dtype
) -> None:
    factor, renorm = settings.exponential_average_factor, settings.renorm

    def average(own: Tensor | None, value: Tensor, factor: float) -> None:
        if own is not None:
            old = own.to(wide).reshape(-1)
            own.copy_(((1.0 - factor) * old + factor * value).reshape(own.shape))

    average(buffers.mean, mean, factor)
    if renorm is None:
        average(buffers.var, var, factor)
        return
    assert buffers.stddev is not None
    assert buffers.var is not None
    stddev = torch.sqrt(var + settings.epsilon)
    average(buffers.stddev, stddev, factor)
    buffers.var.copy_((buffers.stddev.to(wide) ** 2 - settings.epsilon).clamp_min(0))
    average(buffers.renorm_mean, mean, renorm.exponential_average_factor)
    average(buffers.renorm_stddev, stddev, renorm.exponential_average_factor)


def _kept(values: Tensor) -> Tensor:
    """The values, from a copy while torch.compile traces; they have no gradient.

    torch.compile's partitioner lets a backward compute cheap things again from the inputs of the
    graph, buffers among them. What was read from a buffer that the forward then moves would be
    computed from the moved one; the result of an operator of one's own is saved instead. (Inferred
    with torch 2.13.0: renorm's gradients were wrong when compiled, and are right since r and d
    pass through this.)
    """
    if torch.compiler.is_compiling() and not torch.compiler.is_exporting():
        copied: Tensor = _copied(values)
        return copied
    return values


@torch.library.custom_op("batchnorm::kept", mutates_args=())
def _copied(values: Tensor) -> Tensor:
    return values.clone()


@_copied.register_fake
def _(values: Tensor) -> Tensor:
    return torch.empty_like(values)
