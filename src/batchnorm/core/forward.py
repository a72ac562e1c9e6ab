"""The layer as two pure functions: forward, and the backward that belongs to it.

State goes in and comes out; nothing is kept. What a framework calls its parameters, which mode it
chooses and which variance it averages is not decided here, nor is how the sums are taken
(`kernel.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy import ndarray

from batchnorm.arrays import as_array
from batchnorm.core import kernel, renorm
from batchnorm.core.moments import Moments
from batchnorm.core.replicas import Replicas
from batchnorm.core.running import Running, update
from batchnorm.core.settings import Settings
from batchnorm.errors import InvalidValue
from batchnorm.vocabulary import Array, Mode

__all__ = ["Saved", "backward", "forward"]

# Looked up once: before Python 3.12 an enum's member costs 0.2 microseconds each time.
RUNNING, BATCH = Mode.RUNNING, Mode.BATCH


@dataclass(slots=True, eq=False)
class Saved:
    """What `backward` needs of a `forward`: the input itself (not a copy) and values per channel.

    Args:
        x: the input; backward is wrong if it has been changed meanwhile.
        settings: those of the forward.
        gamma: as given, once for each ghost batch.
        stats: three rows: the mean that normalized, the residual that rounding took from it, and
            inv_std = 1 / sqrt(var + epsilon).
        count: values per channel, one number or one for each; None where running statistics
            normalized.
        weights: as given.
        r: renorm's factor, None without renorm.
        d: renorm's shift, None without renorm.
        y: the result, where a ReLU was part of it.
        replicas: as given.

    Shape: (K,), K the number of channels times that of ghost batches; stats (3 or more, K); x,
        weights and y as in the forward.
    Dtypes: float64, but for x, gamma, weights and y.
    """

    x: Array
    settings: Settings
    gamma: Array | None
    stats: Array
    count: Array | float | None
    weights: Array | None = None
    r: Array | None = None
    d: Array | None = None
    y: Array | None = None
    replicas: Replicas | None = None

    @property
    def mean(self) -> Array:
        """The statistic that normalized, without its residual."""
        return np.asarray(self.stats[0])

    @property
    def residual(self) -> Array:
        """What rounding took from the mean."""
        return np.asarray(self.stats[1])

    @property
    def inv_std(self) -> Array:
        """1 / sqrt(var + epsilon)."""
        return np.asarray(self.stats[2])


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
    addend: Array | None = None,
    relu: bool = False,
    replicas: Replicas | None = None,
) -> tuple[Array, Running | None, Saved]:
    """Normalize x: the result, the new running statistics, and what `backward` needs.

    mean, var = moments of x per channel      (or the running ones, by mode)
    x_hat     = (x - mean) / sqrt(var + epsilon)
    y         = (x_hat * r + d) * gamma + beta                        r = 1, d = 0 without renorm
    running   = (1 - factor) * running + factor * statistic

    Args:
        x: real values, NumPy's or any tensor on the CPU that exports itself; never changed.
        gamma: scale, None for 1.
        beta: shift, None for 0.
        running: running statistics, None for none; never changed.
        settings: what this call is done with.
        weights: how much each value counts in the statistics, 0 to 1, broadcast against x.
        dtype: type of the result, None for that of x.
        out: array that becomes the result, of x's shape and without memory of x.
        addend: of x's shape, added to the result before the ReLU (a residual block's other branch).
        relu: whether values below 0 become 0.
        replicas: who holds the other parts of the batch, of which x is one; None for the whole.

    Shape: x any; everything per channel (K,), K the product of the channel axes' lengths, divided
        by `settings.groups`.
    Dtypes: any real type; sums are taken in float64 (of 16-bit elements the kernel adds eight at a
        time in float32 before that), y within the bounds of docs/accuracy.md.

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
    if type(x) is not ndarray:
        x = as_array(x, "x")
    alone = weights is None and replicas is None
    # As one task of the kernel, where it takes the case.
    if alone and settings.plain and (dtype is None or dtype == x.dtype):
        axes, mode, epsilon = settings.channel_axes, settings.mode, settings.epsilon
        mean, var = (None, None) if running is None else (running.mean, running.var)
        if mode is RUNNING:
            inferred = kernel.whole_infer(
                x, axes, gamma, beta, mean, var, epsilon, out, relu, addend
            )
            if inferred is not None:
                y, stats = inferred
                result = y if relu else None
                return y, running, Saved(x, settings, gamma, stats, None, None, None, None, result)
        else:
            if mode is BATCH:
                mean = var = None
            factor, correction = settings.exponential_average_factor, settings.correction
            trained = kernel.whole_forward(
                x, axes, gamma, beta, mean, var, epsilon, factor, correction, out, relu, addend
            )
            if trained is not None:
                y, mean, var, stats = trained
                if mean is not None:
                    running = Running(mean, var)
                count, result = x.size / stats.shape[1], y if relu else None
                return y, running, Saved(x, settings, gamma, stats, count, None, None, None, result)
        copy = kernel.arranged(x, out)
        if copy is not None and copy is not x:
            _check_result("out", out, x.shape, {"x": x, "addend": addend})
            y, running, saved = forward(
                copy, gamma, beta, running, settings, out=out, addend=addend, relu=relu
            )
            saved.x = x
            return y, running, saved
    return _halves(x, gamma, beta, running, settings, weights, dtype, out, addend, relu, replicas)


def _halves(
    x: Array,
    gamma: Array | None,
    beta: Array | None,
    running: Running | None,
    settings: Settings,
    weights: Array | None,
    dtype: np.dtype[Any] | None,
    out: Array | None,
    addend: Array | None,
    relu: bool,
    replicas: Replicas | None,
) -> tuple[Array, Running | None, Saved]:
    """The forward by its halves: moments, then what normalizes with them."""
    groups = settings.groups
    given = {"gamma": gamma, "beta": beta}
    if running is not None:
        given |= {field.name: getattr(running, field.name) for field in fields(running)}
    _check(x, settings, given)
    _check_result("out", out, x.shape, {"x": x, "addend": addend, "weights": weights})
    if addend is not None and addend.shape != x.shape:
        raise InvalidValue(f"addend must have x's shape {x.shape}, but has {addend.shape}")
    gamma, beta = _spread(_wide(gamma), groups), _spread(_wide(beta), groups)
    count = r = d = None
    if settings.mode is RUNNING:
        if running is None:
            raise InvalidValue("Mode.RUNNING needs running statistics, but got running=None")
        mean, var = _spread(_wide(running.mean), groups), _spread(_wide(running.var), groups)
        residual = np.zeros_like(mean)
    else:
        moments = kernel.reduce(x, settings.channel_axes, weights)
        if replicas is not None:
            moments = replicas.merged(moments)
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
    y = np.empty_like(x, dtype or x.dtype) if out is None else out
    kernel.normalize(x, settings.channel_axes, mean, residual, inv_std, scale, shift, y)
    with np.errstate(all="ignore"):
        if addend is not None:
            np.add(y, addend, out=y, casting="same_kind")
        if relu:
            y[y < 0] = 0
    stats = np.array([mean, residual, inv_std])
    result = y if relu else None
    return y, running, Saved(x, settings, gamma, stats, count, weights, r, d, result, replicas)


def backward(
    saved: Saved,
    dy: Array,
    dtype: np.dtype[Any] | None = None,
    *,
    out: Array | None = None,
    out_addend: Array | None = None,
) -> tuple[Array, Array, Array]:
    """The gradients of x, gamma and beta; r and d of renorm are constants (stop-gradient).

    dx     = gamma * r * inv_std * (dy - (mean(dy) + x_hat * mean(dy * x_hat)))
    dgamma = sum(dy * (x_hat * r + d)),  dbeta = sum(dy)
    The part in brackets is there only where batch statistics normalized. With replicas its means
    are those of the whole batch; dgamma and dbeta are this part's, and add up to the whole's.

    Args:
        saved: what `forward` gave.
        dy: gradient of its result; never changed.
        dtype: type of dx, None for that of dy.
        out: array that becomes dx, of x's shape and without memory of x or dy.
        out_addend: array that becomes the gradient of `addend`: dy where the ReLU let it through.

    Shape: dx as x; dgamma and dbeta (K,), as gamma and beta.
    Dtypes: sums are taken in float64 (of 16-bit elements the kernel adds some eight at a time in
        float32 before that, where float32 has the digits for it); dgamma and dbeta stay so, dx is
        within the bounds of docs/accuracy.md.

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
    if type(dy) is not np.ndarray:
        dy = as_array(dy, "dy")
    if dy.shape != saved.x.shape:
        raise InvalidValue(f"dy must have x's shape {saved.x.shape}, but got shape {dy.shape}")
    whole = (
        saved.weights is None
        and saved.r is None
        and not saved.settings.count_offset
        and saved.settings.groups == 1
        and saved.replicas is None
        and (dtype is None or dtype == dy.dtype)
    )
    if whole:
        settings, batch = saved.settings, saved.count is not None
        axes, epsilon = settings.channel_axes, settings.epsilon
        done = kernel.whole_backward(
            saved.x, dy, axes, saved.stats, saved.gamma, batch, epsilon, saved.y, out, out_addend
        )
        if done is not None:
            dx, sums = done
            return dx, sums[1], sums[0]
    inputs = {"x": saved.x, "dy": dy, "y": saved.y, "weights": saved.weights}
    _check_result("out", out, saved.x.shape, inputs)
    _check_result("out_addend", out_addend, saved.x.shape, {**inputs, "out": out})
    if whole:
        x = kernel.arranged(saved.x, out)
        given = None if x is None else kernel.arranged(dy, x)
        if x is not None and given is not None and (x is not saved.x or given is not dy):
            y = None if saved.y is None else kernel.arranged(saved.y, x)
            return backward(replace(saved, x=x, y=y), given, out=out, out_addend=out_addend)
    if saved.y is not None:
        with np.errstate(invalid="ignore"):  # NaN lets nothing through
            dy = np.where(saved.y > 0, dy, np.zeros((), dy.dtype))
    if out_addend is not None:
        out_addend[...] = dy
    axes, stats = saved.settings.channel_axes, (saved.mean, saved.residual, saved.inv_std)
    sum_dy, sum_dy_x_hat = kernel.reduce_gradient(saved.x, dy, axes, *stats)
    constant = slope = epsilon_share = None
    if saved.count is not None:
        total_dy, total_dy_x_hat = sum_dy, sum_dy_x_hat
        if saved.replicas is not None:
            total_dy, total_dy_x_hat = saved.replicas.summed(np.array([sum_dy, sum_dy_x_hat]))
        with np.errstate(all="ignore"):
            count = np.asarray(saved.count, np.float64)
            share = np.where(count == 0, 0.0, 1.0 / count)
            # The mean under a mask is pulled towards 0 by count_offset, so the deviations
            # from it no longer add up to 0 and one term more remains.
            pull = saved.inv_std * saved.settings.count_offset * saved.mean * share
            constant = (total_dy - pull * total_dy_x_hat) * share
            slope = total_dy_x_hat * share
            alone = saved.weights is None and saved.replicas is None
            if alone and saved.settings.count_offset == 0:
                epsilon_share = saved.settings.epsilon * saved.inv_std * saved.inv_std
    scale, _ = renorm.compose(_wide(saved.gamma), None, saved.r, saved.d)
    dx = np.empty_like(saved.x, dtype or dy.dtype) if out is None else out
    sums = (constant, slope, saved.weights)
    kernel.input_gradient(saved.x, dy, axes, *stats, scale, *sums, dx, epsilon_share)
    if saved.r is not None and saved.d is not None:
        sum_dy_x_hat = sum_dy_x_hat * saved.r + sum_dy * saved.d
    groups = saved.settings.groups
    return dx, _pool(sum_dy_x_hat, groups) * groups, _pool(sum_dy, groups) * groups


def _check(x: Array, settings: Settings, arrays: dict[str, Array | None]) -> None:
    channels = math.prod(x.shape[axis] for axis in settings.channel_axes) // settings.groups
    for name, array in arrays.items():
        if array is not None and array.shape != (channels,):
            raise InvalidValue(
                f"{name} must have shape ({channels},) for x of shape {x.shape} and channel axes "
                f"{settings.channel_axes}, but has {array.shape}"
            )


def _check_result(
    name: str, out: Array | None, shape: tuple[int, ...], inputs: dict[str, Array | None]
) -> None:
    """A given result must take every value, and disturb nothing that is read."""
    if out is None:
        return
    if not isinstance(out, np.ndarray) or out.shape != shape or out.dtype.kind not in "fV":
        got = f"{out.dtype} of shape {out.shape}" if isinstance(out, np.ndarray) else f"{out!r:.80}"
        raise InvalidValue(
            f"{name} must be an array of x's shape {shape} and a floating type, but got {got}"
        )
    if not out.flags.writeable:
        raise InvalidValue(f"{name} must be writable, but is read-only")
    for other, array in inputs.items():
        if array is not None and np.may_share_memory(array, out):
            raise InvalidValue(
                f"{name} must have memory of its own, but shares memory with {other}"
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
