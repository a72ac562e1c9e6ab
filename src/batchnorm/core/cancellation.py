"""The gradient of x where batch statistics cancel nearly all of dy.

So they do for two values per channel, for a dy that is nearly constant and for the dy of
sum(y * y): what is left is of the size of epsilon / (var + epsilon), and plain float64 shows
mostly its own rounding there. Not here: ordinary gradients (`reference.py`).
"""

from __future__ import annotations

import numpy as np

from batchnorm.core.exact import accurate_sum, two_product, two_sum
from batchnorm.vocabulary import Array

__all__ = ["cancelled", "recover"]

LEFT = 2.0**-6
"""Of which part of dy little enough is left that rounding could be seen in float64."""


def cancelled(g: Array, left: Array) -> Array:
    """Which rows of dy have lost nearly all to the statistics."""
    if g.size == 0:
        return np.zeros(len(g), bool)
    return np.asarray(np.abs(left).max(axis=1) < np.abs(g).max(axis=1) * LEFT)


def recover(rows: Array, g: Array, mean: Array, residual: Array, epsilon_share: Array) -> Array:
    """The bracket of dx where dy is nearly a + b * x_hat, of which batch statistics leave little.

    Written dy = a + b * x_hat + r with r orthogonal to 1 and x_hat, the bracket is
    r + b * x_hat * epsilon_share: nothing cancels but in r, which is found with all digits.
    """
    d, d_low = two_sum(rows, -mean[:, None])
    d_low = d_low - residual[:, None]
    square = _mean(d * d)
    square = np.where(square > 0, square, np.inf)
    c, c_low = two_sum(g, -g[:, :1])  # a constant dy leaves exact zeros
    middle = _mean(c)
    c, c_rest = two_sum(c, -middle)
    c_low = c_low + c_rest
    b = _mean(c * d) / square
    fit, fit_low = two_product(d, np.broadcast_to(b, d.shape))
    r, r_low = two_sum(c, -fit)
    r = r + (r_low + (c_low - fit_low - d_low * b))
    more = np.zeros_like(b)
    for _ in range(2):  # what the rounding of a and b left along 1 and x_hat
        r = r - _mean(r)
        part = _mean(r * d) / square
        r, more = r - d * part, more + part
    return r + (d + d_low) * (b + more) * epsilon_share[:, None]


def _mean(rows: Array) -> Array:
    return np.asarray(accurate_sum(rows)[:, None] / rows.shape[1])
