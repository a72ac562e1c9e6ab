"""The NumPy implementation: the truth that every faster one is compared with.

Numerical decisions:
- All arithmetic is float64; float32 and 16-bit data are exact in it, and a result is rounded once.
- Statistics take two passes over values shifted by the channel's first one, so that a constant
  channel has variance exactly 0 and a large mean costs nothing; a third sum finds the residual.
- float64 data have no wider type to go to, so their sums are compensated (`accurate_sum`).
- Where batch statistics cancel nearly all of dy, dx is computed anew with twice the digits.
- Deviations are (x - mean) - residual, never x * alpha + (beta - mean * alpha), which loses
  1e-3 at |mean| = 1e4 standard deviations.
Bounds: the table of docs/accuracy.md; tests/core/test_accuracy.py measures them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from batchnorm.core.cancellation import cancelled, recover
from batchnorm.core.exact import accurate_sum, two_sum
from batchnorm.core.moments import Moments
from batchnorm.vocabulary import Array

__all__ = ["input_gradient", "normalize", "reduce", "reduce_gradient"]


def to_rows(x: Array, axes: tuple[int, ...]) -> Array:
    """The values as float64 rows, one per channel: shape (K, values per channel)."""
    rows = np.moveaxis(x, axes, range(len(axes)))
    channels = int(np.prod([x.shape[axis] for axis in axes]))
    size = x.size // channels if channels else 0
    return np.ascontiguousarray(rows, dtype=np.float64).reshape(channels, size)


def from_rows(rows: Array, shape: tuple[int, ...], axes: tuple[int, ...], out: Array) -> Array:
    """Write rows back into an array of the data's own layout, rounding once."""
    rest = [axis for axis in range(len(shape)) if axis not in axes]
    moved = rows.reshape([shape[axis] for axis in (*axes, *rest)])
    with np.errstate(all="ignore"):
        out[...] = np.moveaxis(moved, range(len(axes)), axes)
    return out


def weight_rows(weights: Array | None, x: Array, axes: tuple[int, ...]) -> Array | None:
    """Weights, broadcast against the data, as rows."""
    return None if weights is None else to_rows(np.broadcast_to(weights, x.shape), axes)


def _is_double(dtype: np.dtype[Any]) -> bool:
    """Whether sums in float64 must be compensated, in either byte order."""
    return dtype.kind == "f" and dtype.itemsize > 4


def _sum(rows: Array, dtype: np.dtype[Any]) -> Array:
    return accurate_sum(rows) if _is_double(dtype) else np.asarray(rows.sum(axis=1))


def _weighted(rows: Array, w: Array | None) -> Array:
    """Values times weights; a weight of 0 leaves a value out, NaN and inf included."""
    return rows if w is None else np.where(w == 0, 0.0, rows * w)


def _shift(rows: Array, w: Array | None) -> Array:
    """A counted value of each channel to subtract first; 0 where that would not be finite."""
    if rows.shape[1] == 0:
        return np.zeros(rows.shape[0])
    first = rows[:, 0] if w is None else rows[np.arange(len(rows)), np.argmax(w != 0, axis=1)]
    return np.where(np.isfinite(first), first, 0.0)


def reduce(x: Array, axes: tuple[int, ...], weights: Array | None = None) -> Moments:
    """Moments of each channel: the first half of a forward.

    count = sum(w),  mean = sum(w * x) / count,  m2 = sum(w * (x - mean)^2),  w = 1 without weights

    Args:
        x: real values; never changed.
        axes: the channel axes; all others are summed over.
        weights: how much each value counts, 0 to 1, broadcast against x. What a 0 leaves out may
            be NaN or infinite.

    Shape: x any; the moments (K,), K the product of the channel axes' lengths.
    Dtypes: any real type; float64 in between, float64 data in about twice that.

    >>> moments = reduce(np.array([[1.0], [2.0], [6.0]]), axes=(1,))
    >>> moments.count, moments.mean, moments.variance()
    (array([3.]), array([3.]), array([4.66666667]))
    """
    rows, w = to_rows(x, axes), weight_rows(weights, x, axes)
    shift = _shift(rows, w)[:, None]
    with np.errstate(all="ignore"):
        count = np.full(rows.shape[0], float(rows.shape[1])) if w is None else w.sum(axis=1)
        share = _sum(_weighted(rows - shift, w), x.dtype) / count
        mean, lost = two_sum(shift[:, 0], np.where(count == 0, np.nan, share))
        deviations = rows - mean[:, None]
        rest = _sum(_weighted(deviations, w), x.dtype)
        if _is_double(x.dtype):  # what rounding took from the deviations belongs to the mean
            taken = two_sum(rows, -mean[:, None])[1]
            rest = rest + _sum(_weighted(taken, w), x.dtype)
        residual = rest / count
        m2 = _sum(_weighted(deviations * deviations, w), x.dtype) - count * residual * residual
        # Only rounding makes a variance negative: with a negative count m2 is so rightly.
        # Where a channel holds inf or nan the mean says so, and a residual would say nothing more.
        residual = np.where(np.isfinite(residual), residual, np.where(np.isfinite(lost), lost, 0))
        mean, residual = two_sum(mean, residual)
    return Moments(count, mean, residual, np.where((m2 / count < 0) | (count == 0), 0.0, m2))


def normalize(
    x: Array,
    axes: tuple[int, ...],
    mean: Array,
    residual: Array,
    inv_std: Array,
    gamma: Array | None,
    beta: Array | None,
    out: Array,
) -> Array:
    """The second half of a forward: values into normalized values.

    y = ((x - mean) - residual) * inv_std * gamma + beta

    Args:
        x: real values; never changed.
        axes: the channel axes.
        mean: what is subtracted, with its `residual`.
        residual: what rounding took from `mean`.
        inv_std: 1 / sqrt(var + epsilon).
        gamma: scale, None for 1.
        beta: shift, None for 0.
        out: array that becomes y and is returned.

    Shape: out as x; all else (K,).
    Dtypes: computed in float64, rounded once to the type of `out`.

    >>> x, one = np.array([[1.0], [5.0]]), np.ones(1)
    >>> out = np.empty((2, 1), np.float32)
    >>> normalize(x, (1,), 3 * one, 0 * one, 0.5 * one, None, 10 * one, out)
    array([[ 9.],
           [11.]], dtype=float32)
    """
    rows = to_rows(x, axes)
    with np.errstate(all="ignore"):
        y = (rows - mean[:, None]) - residual[:, None]
        y *= (inv_std if gamma is None else inv_std * gamma)[:, None]
        if beta is not None:
            y += beta[:, None]
    return from_rows(y, x.shape, axes, out)


def reduce_gradient(
    x: Array, dy: Array, axes: tuple[int, ...], mean: Array, residual: Array, inv_std: Array
) -> tuple[Array, Array]:
    """The first half of a backward: the sums that gradients are made of.

    sum(dy), sum(dy * x_hat) per channel,  x_hat = ((x - mean) - residual) * inv_std

    Args:
        x: the forward's input.
        dy: gradient of its result.
        axes: the channel axes.
        mean: what was subtracted, with its `residual`.
        residual: what rounding took from `mean`.
        inv_std: 1 / sqrt(var + epsilon).

    Shape: dy as x; all else (K,).
    Dtypes: float64, whatever the data.

    >>> x, one = np.array([[1.0], [5.0]]), np.ones(1)
    >>> reduce_gradient(x, np.array([[1.0], [2.0]]), (1,), 3 * one, 0 * one, 0.5 * one)
    (array([3.]), array([1.]))
    """
    rows, g = to_rows(x, axes), to_rows(dy, axes)
    with np.errstate(all="ignore"):
        x_hat = ((rows - mean[:, None]) - residual[:, None]) * inv_std[:, None]
        return _sum(g, dy.dtype), _sum(g * x_hat, dy.dtype)


def input_gradient(
    x: Array,
    dy: Array,
    axes: tuple[int, ...],
    mean: Array,
    residual: Array,
    inv_std: Array,
    gamma: Array | None,
    constant: Array | None,
    slope: Array | None,
    weights: Array | None,
    out: Array,
    epsilon_share: Array | None = None,
) -> Array:
    """The second half of a backward: the gradient of x.

    dx = gamma * inv_std * (dy - weight * (constant + x_hat * slope))

    Args:
        x: the forward's input.
        dy: gradient of its result.
        axes: the channel axes.
        mean: what was subtracted, with its `residual`.
        residual: what rounding took from `mean`.
        inv_std: 1 / sqrt(var + epsilon).
        gamma: scale, None for 1.
        constant: mean of dy; None where running statistics normalized, through which nothing flows.
        slope: mean of dy * x_hat; None as `constant`.
        weights: as the forward had them.
        out: array that becomes dx and is returned.
        epsilon_share: epsilon / (var + epsilon), to be given only where x is the whole batch and
            has no weights: channels where nearly all of dy cancels then get twice the digits.

    Shape: dy and out as x; all else (K,).
    Dtypes: computed in float64, rounded once to the type of `out`.

    >>> x, one = np.array([[1.0], [5.0]]), np.ones(1)
    >>> stats = (3 * one, 0 * one, 0.5 * one)
    >>> input_gradient(x, x, (1,), *stats, None, None, None, None, np.empty((2, 1)))
    array([[0.5],
           [2.5]])
    """
    rows, g = to_rows(x, axes), to_rows(dy, axes)
    dx = g
    with np.errstate(all="ignore"):
        if constant is not None and slope is not None:
            x_hat = ((rows - mean[:, None]) - residual[:, None]) * inv_std[:, None]
            fit = constant[:, None] + x_hat * slope[:, None]
            dx = g - _weighted(fit, weight_rows(weights, x, axes))
            if epsilon_share is not None:
                hard = cancelled(g, dx)
                values = (mean[hard], residual[hard], epsilon_share[hard])
                dx[hard] = recover(rows[hard], g[hard], *values)
        dx = dx * (inv_std if gamma is None else inv_std * gamma)[:, None]
    return from_rows(dx, x.shape, axes, out)
