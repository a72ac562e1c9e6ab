"""What one call of the core is done with: the canonical form of every dialect's parameters.

Not here: the arrays (x, gamma, beta, running statistics, weights), which are arguments, and any
framework's name or default for a setting.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from batchnorm.vocabulary import Mode

__all__ = ["Renorm", "Settings"]


@dataclass(frozen=True)
class Renorm:
    """Bounds of batch renormalization's r and d, and the weight of the batch in its own averages.

    Args:
        exponential_average_factor: weight of the new batch, 0 to 1.
        rmin: lower bound of r; None for none.
        rmax: upper bound of r; None for none.
        dmax: bound of |d|; None for none.

    >>> Renorm(exponential_average_factor=0.01, rmax=3.0, dmax=5.0).rmin is None
    True

    Source: Ioffe 2017, https://arxiv.org/abs/1702.03275.
    """

    exponential_average_factor: float
    rmin: float | None = None
    rmax: float | None = None
    dmax: float | None = None


@dataclass(frozen=True)
class Settings:
    """What `forward` is done with.

    Args:
        channel_axes: axes that keep a statistic of their own; all others are averaged over.
        mode: which statistics normalize, and whether the running ones move.
        epsilon: stabiliser added to the variance.
        exponential_average_factor: weight of the new batch in the running statistics.
        correction: c in the m2 / (count - c) that enters the running variance, 0 or 1.
        renorm: bounds of r and d, or None for plain batch normalization.
        count_offset: added to the count wherever something is divided by it (Keras 3 adds 1e-7
            under a mask).
        groups: number of ghost batches. More than 1 means that the first channel axis counts
            them: each has statistics of its own, while gamma, beta and the running statistics are
            shared and see the groups' average.

    Attributes:
        plain: whether this is batch normalization of the paper, without any addition.

    >>> Settings(channel_axes=(1,), mode=Mode.BATCH, epsilon=1e-5).groups
    1
    """

    channel_axes: tuple[int, ...]
    mode: Mode
    epsilon: float
    exponential_average_factor: float = 0.0
    correction: int = 0
    renorm: Renorm | None = None
    count_offset: float = 0.0
    groups: int = 1
    plain: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        plain = self.groups == 1 and self.renorm is None and not self.count_offset
        object.__setattr__(self, "plain", plain)

    @property
    def least_stddev(self) -> float:
        """Renorm's least averaged deviation: the root of epsilon as float32, in float64 too."""
        return float(np.sqrt(np.float64(np.float32(self.epsilon))))
