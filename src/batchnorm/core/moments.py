"""Moments: what a batch says about each channel, and how two batches are put together.

The one currency of the package: synchronisation, recalibration and ghost batches merge moments.
Always float64, whatever the data. Chan, Golub and LeVeque 1979 for the merge.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from batchnorm.vocabulary import Array

__all__ = ["Moments", "merge", "two_sum"]


class Moments(NamedTuple):
    """Count, mean and sum of squared deviations per channel, each a float64 array of shape (K,).

    The mean is kept as the unevaluated sum `mean + residual`: where |mean| is a million times the
    standard deviation, what rounding takes from `mean` alone is visible in the normalized values.
    """

    count: Array
    mean: Array
    residual: Array
    m2: Array

    def variance(self, correction: float = 0) -> Array:
        """m2 / (count - correction): biased for 0, unbiased for 1; 0/0 is NaN, as in NumPy."""
        with np.errstate(all="ignore"):
            return np.asarray(self.m2 / (self.count - correction))


def two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """The rounded sum and what rounding took from it: a + b = s + e exactly (Knuth)."""
    with np.errstate(all="ignore"):
        s = a + b
        b_part = s - a
        e = (a - (s - b_part)) + (b - b_part)
        return s, np.where(np.isfinite(s), e, 0.0)


def merge(first: Moments, second: Moments) -> Moments:
    """The moments of both batches together, exact up to rounding; an empty one changes nothing."""
    count = first.count + second.count
    with np.errstate(all="ignore"):
        share = np.where(count > 0, second.count / count, 0.0)
        delta = (second.mean - first.mean) + (second.residual - first.residual)
        mean, residual = two_sum(first.mean, first.residual + delta * share)
        m2 = first.m2 + second.m2 + delta * delta * first.count * share
    empty_first, empty_second = first.count == 0, second.count == 0

    def pick(merged: Array, of_first: Array, of_second: Array) -> Array:
        return np.where(empty_second, of_first, np.where(empty_first, of_second, merged))

    return Moments(
        count,
        pick(mean, first.mean, second.mean),
        pick(residual, first.residual, second.residual),
        pick(m2, first.m2, second.m2),
    )
