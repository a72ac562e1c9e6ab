"""Batch renormalization: the r and d that pull batch statistics towards the running ones.

Source: Ioffe 2017, https://arxiv.org/abs/1702.03275; Keras' form, whose stddevs hold epsilon.
"""

from __future__ import annotations

import numpy as np

from batchnorm.core.running import Running
from batchnorm.core.settings import Settings
from batchnorm.errors import InvalidValue
from batchnorm.vocabulary import Array

__all__ = ["compose", "correction"]


def correction(
    mean: Array, var: Array, running: Running, settings: Settings
) -> tuple[Array, Array]:
    """r and d from the averages before this batch's update."""
    renorm = settings.renorm
    assert renorm is not None
    if running.renorm_mean is None or running.renorm_stddev is None or running.stddev is None:
        raise InvalidValue(
            "renorm needs stddev, renorm_mean and renorm_stddev among the running statistics: "
            "a layer must have it on when it is built"
        )
    with np.errstate(all="ignore"):
        stddev = np.maximum(np.asarray(running.renorm_stddev, np.float64), settings.least_stddev)
        r = np.sqrt(var + settings.epsilon) / stddev
        d = (mean - np.asarray(running.renorm_mean, np.float64)) / stddev
    r = r if renorm.rmin is None else np.maximum(r, renorm.rmin)
    r = r if renorm.rmax is None else np.minimum(r, renorm.rmax)
    d = d if renorm.dmax is None else np.clip(d, -renorm.dmax, renorm.dmax)
    return r, d


def compose(
    gamma: Array | None, beta: Array | None, r: Array | None, d: Array | None
) -> tuple[Array | None, Array | None]:
    """(x_hat * r + d) * gamma + beta as one scale and one shift of x_hat."""
    if r is None or d is None:
        return gamma, beta
    scale, shift = (r, d) if gamma is None else (r * gamma, d * gamma)
    return scale, shift if beta is None else shift + beta
