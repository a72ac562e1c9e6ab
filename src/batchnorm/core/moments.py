"""Moments: what a batch says about each channel, and how two batches are put together.

The one currency of the package: synchronisation, recalibration and ghost batches merge moments.
Not here: how they are found in an array (`reference.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from batchnorm.core.exact import two_sum
from batchnorm.vocabulary import Array

__all__ = ["Moments", "merge"]


@dataclass(frozen=True, eq=False)
class Moments:
    """Count, mean and sum of squared deviations per channel.

    mean = sum(x) / count,  m2 = sum((x - mean)^2),  var = m2 / (count - correction)

    Args:
        count: values per channel, the sum of their weights where there are weights; at least 0.
        mean: their mean, rounded to float64; NaN for an empty channel.
        residual: what that rounding took: where |mean| is a million standard deviations, it is
            visible in the normalized values.
        m2: sum of the squared deviations from `mean + residual`; never negative.

    Shape: each (K,), K the number of channels.
    Dtypes: float64, whatever the data.

    >>> import numpy as np
    >>> from batchnorm import core
    >>> moments = core.reduce(np.array([[1.0, 10.0], [3.0, 10.0]]), axes=(1,))
    >>> moments.mean, moments.m2
    (array([ 2., 10.]), array([2., 0.]))
    >>> moments.variance(correction=1)
    array([2., 0.])

    Source: Chan, Golub and LeVeque 1979.
    """

    count: Array
    mean: Array
    residual: Array
    m2: Array

    def variance(self, correction: float = 0) -> Array:
        """m2 / (count - correction): biased for 0, unbiased for 1; 0/0 is NaN, as in NumPy."""
        with np.errstate(all="ignore"):
            return np.asarray(self.m2 / (self.count - correction))


def merge(first: Moments, second: Moments) -> Moments:
    """The moments of two batches together.

    mean = mean1 + (mean2 - mean1) * count2 / count
    m2   = m2_1 + m2_2 + (mean2 - mean1)^2 * count1 * count2 / count

    Args:
        first: moments of one batch.
        second: those of another with the same channels; an empty batch changes nothing.

    Shape: as the arguments, which must be of one K.
    Dtypes: float64; equal to `reduce` of the concatenated batches up to rounding.

    >>> import numpy as np
    >>> from batchnorm import core
    >>> parts = [core.reduce(part, axes=(1,)) for part in (np.ones((3, 1)), np.full((1, 1), 5.0))]
    >>> both = core.merge(*parts)
    >>> both.count, both.mean, both.m2
    (array([4.]), array([2.]), array([12.]))

    Source: Chan, Golub and LeVeque 1979.
    """
    count = first.count + second.count
    with np.errstate(all="ignore"):
        share = np.where(count > 0, second.count / count, 0.0)
        delta = (second.mean - first.mean) + (second.residual - first.residual)
        mean, residual = two_sum(first.mean, first.residual + delta * share)
        mean = np.where(np.isfinite(delta), mean, first.mean + second.mean)  # inf stays inf
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
