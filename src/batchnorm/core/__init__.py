"""Batch normalization as pure functions over arrays: no layer, no framework, no state kept.

`forward` and `backward` are the whole; `reduce`, `merge`, `normalize`, `reduce_gradient`
and `input_gradient` are its halves, for those who must do something between them (synchronise,
recalibrate, use ghost batches). `kernel` holds the implementations, `reference` the NumPy one.
"""

from batchnorm.core.forward import Saved, backward, forward
from batchnorm.core.kernel import empty_like, input_gradient, normalize, reduce, reduce_gradient
from batchnorm.core.moments import Moments, merge
from batchnorm.core.running import Running
from batchnorm.core.settings import Renorm, Settings

__all__ = [
    "Moments",
    "Renorm",
    "Running",
    "Saved",
    "Settings",
    "backward",
    "empty_like",
    "forward",
    "input_gradient",
    "merge",
    "normalize",
    "reduce",
    "reduce_gradient",
]
