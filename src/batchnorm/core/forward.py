"""The layer as two pure functions: forward, and the backward that belongs to it.

State goes in and comes out; nothing is kept. What a framework calls its parameters, which mode it
chooses and which variance it averages is not decided here, nor is how the sums are taken
(`kernel.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from batchnorm.core import kernel, renorm
from batchnorm.core.moments import Moments
from batchnorm.core.running import Running, update
from batchnorm.core.settings import Settings
from batchnorm.errors import InvalidValue
from batchnorm.vocabulary import Array, Mode

__all__ = ["Saved", "backward", "forward"]


@dataclass(frozen=True, eq=False)
class Saved:
    """What `backward` needs of a `forward`: the input itself (not a copy) and values per channel.

    Args:
        x: the input; backward is wrong if it has been changed meanwhile.
        settings: those of the forward.
        gamma: as given, in float64, once for each ghost batch.
        mean: the statistic that normalized, without its `residual`.
        residual: what rounding took from `mean`.
        inv_std: 1 / sqrt(var + epsilon).
        count: values per channel, None where running statistics normalized.
        weights: as given.
        r: renorm's factor, None without renorm.
        d: renorm's shift, None without renorm.

    Shape: (K,), K the number of channels times that of ghost batches, but for x and weights.
    Dtypes: float64, but for x and weights.
    """

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
    """Normalize x: the result, the new running statistics, and what `backward` needs.

    mean, var = moments of x per channel      (or the running ones, by mode)
    x_hat     = (x - mean) / sqrt(var + epsilon)
    y         = (x_hat * r + d) * gamma + beta                        r = 1, d = 0 without renorm
    running   = (1 - factor) * running + factor * statistic

    Args:
        x: real values; never changed.
        gamma: scale, None for 1.
        beta: shift, None for 0.
        running: running statistics, None for none; never changed.
        settings: what this call is done with.
        weights: how much each value counts in the statistics, 0 to 1, broadcast against x.
        dtype: type of the result, None for that of x.
        out: array that becomes the result, of x's shape and without memory of x.

    Shape: x any; everything per channel (K,), K the product of the channel axes' lengths, divided
        by `settings.groups`.
    Dtypes: any real type; computed in float64 and rounded once.

    Raises:
        ValueError: `Mode.RUNNING` without running statistics; a parameter with another number of
            channels; an `out` of another shape or in x's memory.

    >>> import numpy as np
    >>> x = np.array([[1.0], [3.0]])
    >>> running = Running(np.zeros(1), np.ones(1))
    >>> settings = Settings((1,), Mode.BATCH_AND_UPDATE, 0.0, exponential_average_factor=0.5)
    >>> y, running, saved = forward(x, None, None, running, settings)
    >>> y.tolist(), running.mean.tolist(), running.var.tolist()
    ([[-1.0], [1.0]], [1.0], [1.0])

    Source: Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167.
    """
    groups = settings.groups
    _check(x, settings, {"gamma": gamma, "beta": beta, **(vars(running) if running else {})}, out)
    gamma, beta = _spread(_wide(gamma), groups), _spread(_wide(beta), groups)
    count = r = d = None
    if settings.mode is Mode.RUNNING:
        if running is None:
            raise InvalidValue("Mode.RUNNING needs running statistics, but got running=None")
        mean, var = _spread(_wide(running.mean), groups), _spread(_wide(running.var), groups)
        residual = np.zeros_like(mean)
    else:
        moments = kernel.reduce(x, settings.channel_axes, weights)
        count = moments.count + settings.count_offset
        mean, residual, var = _statistics(moments, count)
        batch_mean, batch_var = _pool(mean, groups), _pool(var, groups)
        if settings.renorm is not None and running is not None:
            r, d = renorm.correction(batch_mean, batch_var, running, settings)
            r, d = _spread(r, groups), _spread(d, groups)
        if settings.mode is Mode.BATCH_AND_UPDATE and running is not None:
            if settings.correction != 0:
                batch_var = _pool(moments.variance(settings.correction), groups)
            running = update(running, batch_mean, batch_var, settings)
    with np.errstate(all="ignore"):
        inv_std = 1.0 / np.sqrt(var + settings.epsilon)
    scale, shift = renorm.compose(gamma, beta, r, d)
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

    Args:
        saved: what `forward` gave.
        dy: gradient of its result; never changed.
        dtype: type of dx, None for that of dy.

    Shape: dx as x; dgamma and dbeta (K,), as gamma and beta.
    Dtypes: computed in float64; dgamma and dbeta stay so, dx is rounded once.

    Raises:
        ValueError: dy has another shape than x.

    >>> import numpy as np
    >>> settings = Settings((1,), Mode.BATCH, 0.0)
    >>> _, _, saved = forward(np.array([[1.0], [3.0], [5.0]]), None, None, None, settings)
    >>> dx, dgamma, dbeta = backward(saved, np.array([[1.0], [0.0], [0.0]]))
    >>> print(np.round(dx.ravel(), 4), np.round(dgamma, 4), dbeta)
    [ 0.1021 -0.2041  0.1021] [-1.2247] [1.]

    Source: Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167.
    """
    if dy.shape != saved.x.shape:
        raise InvalidValue(f"dy must have x's shape {saved.x.shape}, but got shape {dy.shape}")
    axes, stats = saved.settings.channel_axes, (saved.mean, saved.residual, saved.inv_std)
    sum_dy, sum_dy_x_hat = kernel.reduce_gradient(saved.x, dy, axes, *stats)
    constant = slope = epsilon_share = None
    if saved.count is not None:
        with np.errstate(all="ignore"):
            share = np.where(saved.count == 0, 0.0, 1.0 / saved.count)
            # The mean under a mask is pulled towards 0 by count_offset, so the deviations
            # from it no longer add up to 0 and one term more remains.
            pull = saved.inv_std * saved.settings.count_offset * saved.mean * share
            constant = (sum_dy - pull * sum_dy_x_hat) * share
            slope = sum_dy_x_hat * share
            if saved.weights is None and saved.settings.count_offset == 0:
                epsilon_share = saved.settings.epsilon * saved.inv_std * saved.inv_std
    scale, _ = renorm.compose(saved.gamma, None, saved.r, saved.d)
    dx = np.empty(saved.x.shape, dtype or dy.dtype)
    sums = (constant, slope, saved.weights)
    kernel.input_gradient(saved.x, dy, axes, *stats, scale, *sums, dx, epsilon_share)
    if saved.r is not None and saved.d is not None:
        sum_dy_x_hat = sum_dy_x_hat * saved.r + sum_dy * saved.d
    groups = saved.settings.groups
    return dx, _pool(sum_dy_x_hat, groups) * groups, _pool(sum_dy, groups) * groups


def _check(
    x: Array, settings: Settings, arrays: dict[str, Array | None], out: Array | None
) -> None:
    channels = math.prod(x.shape[axis] for axis in settings.channel_axes) // settings.groups
    for name, array in arrays.items():
        if array is not None and array.shape != (channels,):
            raise InvalidValue(
                f"{name} must have shape ({channels},) for x of shape {x.shape} and channel axes "
                f"{settings.channel_axes}, but has {array.shape}"
            )
    if out is not None and (out.shape != x.shape or np.may_share_memory(x, out)):
        raise InvalidValue(
            f"out must be an array of x's shape {x.shape} in memory of its own, but has shape "
            f"{out.shape}{' and shares memory' if np.may_share_memory(x, out) else ''}"
        )


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
