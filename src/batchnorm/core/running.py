"""Running statistics and the step that they take after a batch.

Not here: which of a batch's variances enters (`Settings.correction`), and the r and d of batch
renormalization (`renorm.py`), whose averages are kept and updated here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from batchnorm.core.settings import Settings
from batchnorm.vocabulary import Array

__all__ = ["Running", "average", "update"]


@dataclass(slots=True, eq=False)
class Running:
    """Running statistics per channel.

    Args:
        mean: average of the batches' means.
        var: average of their variances; with renorm, stddev^2 - epsilon, never negative.
        stddev: with renorm only: average of sqrt(batch variance + epsilon).
        renorm_mean: with renorm only: mean, averaged with renorm's own factor.
        renorm_stddev: with renorm only: stddev, averaged with renorm's own factor.

    Shape: each (K,), K the number of channels.
    Dtypes: any floating type; an update keeps it.

    >>> Running(mean=np.zeros(2), var=np.ones(2)).stddev is None
    True
    """

    mean: Array
    var: Array
    stddev: Array | None = None
    renorm_mean: Array | None = None
    renorm_stddev: Array | None = None


def update(running: Running, mean: Array, var: Array, settings: Settings) -> Running:
    """Running statistics after one batch with these; with renorm, standard deviations averaged."""
    factor, renorm = settings.exponential_average_factor, settings.renorm
    new_mean = average(running.mean, mean, factor)
    if renorm is None:
        return Running(new_mean, average(running.var, var, factor))
    assert running.stddev is not None
    assert running.renorm_mean is not None
    assert running.renorm_stddev is not None
    own = renorm.exponential_average_factor
    with np.errstate(all="ignore"):
        stddev = np.sqrt(var + settings.epsilon)
        new_stddev = average(running.stddev, stddev, factor)
        new_var = np.asarray(new_stddev, np.float64) ** 2 - settings.epsilon
        new_var = np.where(new_var < 0, 0.0, new_var).astype(running.var.dtype)
    return Running(
        new_mean,
        new_var,
        new_stddev,
        average(running.renorm_mean, mean, own),
        average(running.renorm_stddev, stddev, own),
    )


def average(old: Array, new: Array, factor: float) -> Array:
    """(1 - factor) * old + factor * new, in float64, rounded once to the type of `old`."""
    with np.errstate(all="ignore"):
        blended = (1.0 - factor) * np.asarray(old, np.float64) + factor * new
        return np.asarray(blended.astype(old.dtype))
