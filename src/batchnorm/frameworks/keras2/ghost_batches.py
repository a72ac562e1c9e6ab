"""Keras 2's virtual batches: parts of a batch that are normalized each by its own statistics.

Sample i goes to ghost batch i modulo their number, so the parts interleave and are no blocks. An
axis that counts them comes after the batch axis, and every parameter has a 1 in its place.
Source: tf_keras 2.21.0, tf_keras/src/layers/normalization/batch_normalization.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from batchnorm.errors import InvalidType, InvalidValue
from batchnorm.vocabulary import Array

__all__ = ["check", "split"]


def check(size: Any, axes: list[int], adjustment: Any) -> None:
    """Refuse what virtual batches can't be used with."""
    if not isinstance(size, int | float | np.number):
        raise InvalidType(f"virtual_batch_size must be a positive integer, but got {size!r}")
    if size <= 0:
        raise InvalidValue(f"virtual_batch_size must be a positive integer, but got {size}")
    if 0 in axes:
        raise InvalidValue(f"virtual_batch_size needs axis 0 for the batch, but got axis={axes}")
    if adjustment is not None:
        raise InvalidValue("virtual_batch_size can't be used together with adjustment")


def split(x: Array, size: int | None) -> Array:
    """The batch as (size, number of ghost batches, ...); as one ghost batch without a size."""
    if size is None:
        return x[:, None]
    if not isinstance(size, int | np.integer):
        raise InvalidValue(f"virtual_batch_size must be an integer, but got {size!r}")
    if len(x) % int(size):
        raise InvalidValue(f"virtual_batch_size={size} doesn't divide the batch of {len(x)}")
    return x.reshape(int(size), -1, *x.shape[1:])
