"""The layer as two pure functions: forward, and the backward that belongs to it.

    mean, var = moments of x per channel      (or the running ones, by mode)
    x_hat     = (x - mean) / sqrt(var + epsilon)
    y         = (x_hat * r + d) * gamma + beta                        r = 1, d = 0 without renorm
    running   = (1 - factor) * running + factor * statistic

State goes in and comes out; nothing is kept. What a framework calls its parameters, which mode it
chooses and which variance it averages is not decided here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from batchnorm.core import kernel
from batchnorm.core.moments import Moments
from batchnorm.vocabulary import Array, Mode

__all__ = ["Renorm", "Running", "Saved", "Settings", "backward", "forward"]


@dataclass(frozen=True)
class Renorm:
    """Batch renormalization (Ioffe 2017): bounds of r and d, and the weight of the new batch."""

    exponential_average_factor: float
    rmin: float | None = None
    rmax: float | None = None
    dmax: float | None = None


@dataclass(frozen=True)
class Settings:
    """What one call is done with.

    `count_offset` is added to the number of values wherever something is divided by it (Keras 3
    does so under a mask); `correction` is c in the m2 / (n - c) that enters the running variance.
    With `groups` > 1 the first channel axis counts ghost batches: each has statistics of its own,
    while gamma, beta and the running statistics are shared and see the groups' average.
    """

    channel_axes: tuple[int, ...]
    mode: Mode
    epsilon: float
    exponential_average_factor: float = 0.0
    correction: int = 0
    renorm: Renorm | None = None
    count_offset: float = 0.0
    groups: int = 1


@dataclass(frozen=True)
class Running:
    """Running statistics per channel; the last three only with renorm, which averages stddevs."""

    mean: Array
    var: Array
    stddev: Array | None = None
    renorm_mean: Array | None = None
    renorm_stddev: Array | None = None


@dataclass(frozen=True)
class Saved:
    """What backward needs: the input itself (not a copy) and a few values per channel."""

    x: Array
    settings: Settings
    gamma: Array | None
    mean: Array
    residual: Array
    inv_std: Array
    count: Array | None
    weights: Array | None
    r: Array | None
    d: Array | None


def forward(
    x: Array,
    gamma: Array | None,
    beta: Array | None,
    running: Running | None,
    settings: Settings,
    *,
    weights: Array | None = None,
    dtype: np.dtype[Any] | None = None,
    out: Array | None = None,
) -> tuple[Array, Running | None, Saved]:
    """Normalize x: the result, the new running statistics, and what backward needs.

    All per-channel arrays have shape (K,), K the product of the channel axes' lengths, or
    K / groups where ghost batches share them.
    """
    groups = settings.groups
    gamma, beta = _spread(_wide(gamma), groups), _spread(_wide(beta), groups)
    count = r = d = None
    if settings.mode is Mode.RUNNING:
        if running is None:
            raise ValueError("Mode.RUNNING needs running statistics, but got none")
        mean, var = _spread(_wide(running.mean), groups), _spread(_wide(running.var), groups)
        residual = np.zeros_like(mean)
    else:
        moments = kernel.reduce(x, settings.channel_axes, weights)
        count = moments.count + settings.count_offset
        mean, residual, var = _statistics(moments, count)
        batch_mean, batch_var = _pool(mean, groups), _pool(var, groups)
        if settings.renorm is not None and running is not None:
            r, d = _renorm_correction(batch_mean, batch_var, running, settings)
            r, d = _spread(r, groups), _spread(d, groups)
        if settings.mode is Mode.BATCH_AND_UPDATE and running is not None:
            if settings.correction != 0:
                batch_var = _pool(moments.variance(settings.correction), groups)
            running = update(running, batch_mean, batch_var, settings)
    with np.errstate(all="ignore"):
        inv_std = 1.0 / np.sqrt(var + settings.epsilon)
    scale, shift = _compose(gamma, beta, r, d)
    y = np.empty(x.shape, dtype or x.dtype) if out is None else out
    kernel.normalize(x, settings.channel_axes, mean, residual, inv_std, scale, shift, y)
    saved = Saved(x, settings, gamma, mean, residual, inv_std, count, weights, r, d)
    return y, running, saved


def backward(
    saved: Saved, dy: Array, dtype: np.dtype[Any] | None = None
) -> tuple[Array, Array, Array]:
    """The gradients of x, gamma and beta; r and d of renorm are constants (stop-gradient).

    dx     = gamma * r * inv_std * (dy - (mean(dy) + x_hat * mean(dy * x_hat)))
    dgamma = sum(dy * (x_hat * r + d)),  dbeta = sum(dy)
    The part in brackets is there only where batch statistics normalized.
    """
    axes, stats = saved.settings.channel_axes, (saved.mean, saved.residual, saved.inv_std)
    sum_dy, sum_dy_x_hat = kernel.reduce_gradient(saved.x, dy, axes, *stats)
    constant = slope = None
    if saved.count is not None:
        with np.errstate(all="ignore"):
            share = np.where(saved.count == 0, 0.0, 1.0 / saved.count)
            # The mean under a mask is pulled towards 0 by count_offset, so the deviations
            # from it no longer add up to 0 and one term more remains.
            pull = saved.inv_std * saved.settings.count_offset * saved.mean * share
            constant = (sum_dy - pull * sum_dy_x_hat) * share
            slope = sum_dy_x_hat * share
    scale, _ = _compose(saved.gamma, None, saved.r, saved.d)
    dx = np.empty(saved.x.shape, dtype or dy.dtype)
    kernel.input_gradient(saved.x, dy, axes, *stats, scale, constant, slope, saved.weights, dx)
    if saved.r is not None and saved.d is not None:
        sum_dy_x_hat = sum_dy_x_hat * saved.r + sum_dy * saved.d
    groups = saved.settings.groups
    return dx, _pool(sum_dy_x_hat, groups) * groups, _pool(sum_dy, groups) * groups


def update(running: Running, mean: Array, var: Array, settings: Settings) -> Running:
    """Running statistics after one batch with these; with renorm, standard deviations averaged."""
    factor, renorm = settings.exponential_average_factor, settings.renorm
    new_mean = average(running.mean, mean, factor)
    if renorm is None:
        return Running(new_mean, average(running.var, var, factor))
    assert running.stddev is not None
    assert running.renorm_mean is not None
    assert running.renorm_stddev is not None
    own = renorm.exponential_average_factor
    with np.errstate(all="ignore"):
        stddev = np.sqrt(var + settings.epsilon)
        new_stddev = average(running.stddev, stddev, factor)
        new_var = _wide(new_stddev) ** 2 - settings.epsilon
        new_var = np.where(new_var < 0, 0.0, new_var).astype(running.var.dtype)
    return Running(
        new_mean,
        new_var,
        new_stddev,
        average(running.renorm_mean, mean, own),
        average(running.renorm_stddev, stddev, own),
    )


def average(old: Array, new: Array, factor: float) -> Array:
    """(1 - factor) * old + factor * new, in float64, rounded once to the type of `old`."""
    with np.errstate(all="ignore"):
        blended = (1.0 - factor) * np.asarray(old, np.float64) + factor * new
        return np.asarray(blended.astype(old.dtype))


def _wide(values: Array | None) -> Any:
    return None if values is None else np.asarray(values, np.float64)


def _spread(values: Any, groups: int) -> Any:
    """Shared per-channel values, once for every ghost batch."""
    return values if values is None or groups == 1 else np.tile(values, groups)


def _pool(values: Array, groups: int) -> Array:
    """The average over ghost batches."""
    return values if groups == 1 else values.reshape(groups, -1).mean(axis=0)


def _statistics(moments: Moments, count: Array) -> tuple[Array, Array, Array]:
    """Mean, residual and biased variance, divided by `count` (the moments' own plus an offset)."""
    if count is moments.count or np.array_equal(count, moments.count):
        with np.errstate(all="ignore"):
            return moments.mean, moments.residual, moments.m2 / count
    with np.errstate(all="ignore"):
        mean = np.where(moments.count == 0, 0.0, moments.mean * (moments.count / count))
        off = np.where(moments.count == 0, 0.0, moments.mean - mean + moments.residual)
        return mean, np.zeros_like(mean), (moments.m2 + moments.count * off * off) / count


def _renorm_correction(
    mean: Array, var: Array, running: Running, settings: Settings
) -> tuple[Array, Array]:
    """r and d from the averages before this batch's update."""
    renorm = settings.renorm
    assert renorm is not None
    assert running.renorm_mean is not None
    assert running.renorm_stddev is not None
    with np.errstate(all="ignore"):
        stddev = np.maximum(_wide(running.renorm_stddev), np.sqrt(settings.epsilon))
        r = np.sqrt(var + settings.epsilon) / stddev
        d = (mean - _wide(running.renorm_mean)) / stddev
    r = r if renorm.rmin is None else np.maximum(r, renorm.rmin)
    r = r if renorm.rmax is None else np.minimum(r, renorm.rmax)
    d = d if renorm.dmax is None else np.clip(d, -renorm.dmax, renorm.dmax)
    return r, d


def _compose(
    gamma: Array | None, beta: Array | None, r: Array | None, d: Array | None
) -> tuple[Array | None, Array | None]:
    """(x_hat * r + d) * gamma + beta as one scale and one shift of x_hat."""
    if r is None or d is None:
        return gamma, beta
    scale, shift = (r, d) if gamma is None else (r * gamma, d * gamma)
    return scale, shift if beta is None else shift + beta
