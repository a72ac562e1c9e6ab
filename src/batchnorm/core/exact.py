"""Sums and products whose rounding errors are kept: what the reference is accurate by.

Knuth 1969 for the sum, Dekker 1971 for the product, Ogita, Rump and Oishi 2005 for `accurate_sum`.
Not here: any statistics.
"""

from __future__ import annotations

import numpy as np

from batchnorm.vocabulary import Array

__all__ = ["accurate_sum", "two_product", "two_sum"]

SPLITTER = 2.0**27 + 1


def two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """The rounded sum and what rounding took from it: a + b = s + e exactly."""
    with np.errstate(all="ignore"):
        s = a + b
        b_part = s - a
        e = (a - (s - b_part)) + (b - b_part)
        return s, np.where(np.isfinite(s), e, 0.0)


def two_product(a: Array, b: Array) -> tuple[Array, Array]:
    """The rounded product and what rounding took from it; the latter is 0 where it overflows."""
    with np.errstate(all="ignore"):
        p = a * b
        (a_high, a_low), (b_high, b_low) = _split(a), _split(b)
        e = ((a_high * b_high - p) + a_high * b_low + a_low * b_high) + a_low * b_low
        return p, np.where(np.isfinite(e), e, 0.0)


def _split(a: Array) -> tuple[Array, Array]:
    scaled = SPLITTER * a
    high = scaled - (scaled - a)
    return high, a - high


def accurate_sum(rows: Array) -> Array:
    """Row sums with the rounding errors of a pairwise tree added back: as if in twice float64."""
    error = np.zeros(rows.shape[0])
    while rows.shape[1] > 1:
        half = rows.shape[1] // 2
        sums, errors = two_sum(rows[:, :half], rows[:, half : 2 * half])
        error = error + errors.sum(axis=1)
        rows = np.concatenate([sums, rows[:, 2 * half :]], axis=1)
    return np.asarray(rows.sum(axis=1) + error)
