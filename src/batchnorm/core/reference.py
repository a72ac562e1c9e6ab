"""The NumPy implementation: the truth that every faster one is compared with.

Numerical decisions:
- All arithmetic is float64; float32 and 16-bit data are exact in it, and a result is rounded once.
- Statistics take two passes over values shifted by the channel's first one, so that a constant
  channel has variance exactly 0 and a large mean costs nothing; a third sum finds the residual.
- float64 data have no wider type to go to, so their sums are compensated (`_accurate_sum`).
- Deviations are (x - mean) - residual, never x * alpha + (beta - mean * alpha), which loses
  1e-3 at |mean| = 1e4 standard deviations.
Bounds: the table of the README; tests/core/test_accuracy.py measures them.
"""

from __future__ import annotations

import numpy as np

from batchnorm.core.moments import Moments, two_sum
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


def _accurate_sum(rows: Array) -> Array:
    """Row sums with the rounding errors of a pairwise tree added back: as if in twice float64."""
    error = np.zeros(rows.shape[0])
    while rows.shape[1] > 1:
        half = rows.shape[1] // 2
        sums, errors = two_sum(rows[:, :half], rows[:, half : 2 * half])
        error = error + errors.sum(axis=1)
        rows = np.concatenate([sums, rows[:, 2 * half :]], axis=1)
    return rows.sum(axis=1) + error


def _sum(rows: Array, dtype: np.dtype[np.generic]) -> Array:
    return _accurate_sum(rows) if dtype == np.float64 else np.asarray(rows.sum(axis=1))


def _weighted(rows: Array, w: Array | None) -> Array:
    """Values times weights; a weight of 0 leaves a value out, NaN and inf included."""
    return rows if w is None else np.where(w == 0, 0.0, rows * w)


def _shift(rows: Array) -> Array:
    """A value of each channel to subtract from it first; 0 where that would not be finite."""
    if rows.shape[1] == 0:
        return np.zeros(rows.shape[0])
    return np.where(np.isfinite(rows[:, 0]), rows[:, 0], 0.0)


def reduce(x: Array, axes: tuple[int, ...], weights: Array | None = None) -> Moments:
    """Moments per channel; `weights` (0, 1 or between, broadcast against x) count the values."""
    rows, w = to_rows(x, axes), weight_rows(weights, x, axes)
    shift = _shift(rows)[:, None]
    with np.errstate(all="ignore"):
        count = np.full(rows.shape[0], float(rows.shape[1])) if w is None else w.sum(axis=1)
        shifted = rows - shift
        share = _sum(_weighted(shifted, w), x.dtype) / count
        mean, lost = two_sum(shift[:, 0], np.where(count == 0, np.nan, share))
        deviations = rows - mean[:, None]
        residual = _sum(_weighted(deviations, w), x.dtype) / count
        m2 = _sum(_weighted(deviations * deviations, w), x.dtype) - count * residual * residual
        # Where a channel holds inf or nan the mean says so, and a residual would say nothing more.
        residual = np.where(np.isfinite(residual), residual, np.where(np.isfinite(lost), lost, 0))
        mean, residual = two_sum(mean, residual)
    return Moments(count, mean, residual, np.where(m2 < 0, 0.0, m2))


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
    """y = ((x - mean) - residual) * inv_std * gamma + beta, rounded once into `out`."""
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
    """Per channel: sum of dy, and sum of dy * x_hat with x_hat = (x - mean) * inv_std."""
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
) -> Array:
    """dx = gamma * inv_std * (dy - weight * (constant + x_hat * slope)), rounded once into `out`.

    With batch statistics, `constant` and `slope` are the means of dy and dy * x_hat; with running
    statistics both are None: nothing of dy flows through them.
    """
    dx = to_rows(dy, axes).copy()
    with np.errstate(all="ignore"):
        if constant is not None and slope is not None:
            x_hat = ((to_rows(x, axes) - mean[:, None]) - residual[:, None]) * inv_std[:, None]
            dx -= _weighted(
                constant[:, None] + x_hat * slope[:, None], weight_rows(weights, x, axes)
            )
        dx *= (inv_std if gamma is None else inv_std * gamma)[:, None]
    return from_rows(dx, x.shape, axes, out)
