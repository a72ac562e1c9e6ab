"""Batch normalization of the paper in 80-digit decimals: what a call gives before it is rounded.

Every finite float is a decimal exactly, so only the 80th digit is rounded, and `rounded` rounds
once more, to the nearest number of a type. Written from the formulas, two passes, without the core.
Not here: masks, ghost batches and renorm, and what a dialect decides (`Layer.decide`).

    y      = (x - mean) / sqrt(var + epsilon) * gamma + beta
    moving = (1 - f) moving + f {mean, var n / (n - c)}
    dx     = gamma / std (dy - mean(dy) - x_hat mean(dy x_hat)), without the means in inference
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Context, Decimal, localcontext
from typing import Any

import numpy as np

from batchnorm.core import Settings
from batchnorm.vocabulary import Array, Mode

__all__ = ["CONTEXT", "decimals", "rounded", "step"]

CONTEXT = Context(prec=80, Emax=999_999, Emin=-999_999)


def decimals(values: Any) -> Array:
    """The same numbers as decimals, exactly."""
    array = np.asarray(values)
    return np.array([Decimal(float(v)) for v in array.ravel()], object).reshape(array.shape)


def step(
    x: Array, dy: Array | None, state: Mapping[str, Array], settings: Settings
) -> dict[str, Array]:
    """One call, of rows (channels, values): y, dx, gradients and statistics, in decimals.

    Args:
        x: the input, any floating type.
        dy: the output's gradient, or None.
        state: by role, gamma, beta, running_mean and running_var, as far as they are there.
        settings: what the call is done with, plain.
    """
    with localcontext(CONTEXT):
        values = decimals(x)
        n, held = x.shape[1], {role: decimals(v).ravel()[:, None] for role, v in state.items()}
        batch = settings.mode is not Mode.RUNNING
        shifted = values - values[:, :1]  # some doubles have more than 80 digits
        mean = values[:, :1] + shifted.sum(axis=1, keepdims=True) / n
        deviation = shifted - shifted.sum(axis=1, keepdims=True) / n
        m2 = (deviation * deviation).sum(axis=1, keepdims=True)
        var = m2 / n
        found: dict[str, Array] = {}
        if settings.mode is Mode.BATCH_AND_UPDATE:
            f = Decimal(float(settings.exponential_average_factor))
            new = {"running_mean": mean, "running_var": m2 / (n - settings.correction)}
            found = {role: (1 - f) * held[role] + f * new[role] for role in new}
        if not batch:
            var, deviation = held["running_var"], values - held["running_mean"]
        std = np.sqrt(var + Decimal(float(settings.epsilon)))
        x_hat = deviation / std
        gamma, beta = (held.get(r, np.array(Decimal(d))) for r, d in (("gamma", 1), ("beta", 0)))
        found["y"] = x_hat * gamma + beta
        if dy is not None:
            dy = decimals(dy)
            found["gradient of gamma"] = (dy * x_hat).sum(axis=1)
            found["gradient of beta"] = dy.sum(axis=1)
            if batch:
                slope = (dy * x_hat).sum(axis=1, keepdims=True) / n
                dy = dy - dy.sum(axis=1, keepdims=True) / n - x_hat * slope
            found["dx"] = gamma / std * dy
        return found


def rounded(values: Array, dtype: Any) -> Array:
    """The numbers of a type that are nearest to decimals, rounded once.

    >>> rounded(np.array([Decimal("0.1")], object), np.float32)
    array([0.1], dtype=float32)
    """
    with np.errstate(all="ignore"):
        near = np.array([float(v) for v in values.ravel()], np.float64).astype(dtype)
    with localcontext(CONTEXT):
        for index, exact in enumerate(values.ravel()):
            for side in (-np.inf, np.inf):  # the double between may have led astray by one
                other = np.nextafter(near[index], near.dtype.type(side))
                if abs(Decimal(float(other)) - exact) < abs(Decimal(float(near[index])) - exact):
                    near[index] = other
    return near.reshape(values.shape)
