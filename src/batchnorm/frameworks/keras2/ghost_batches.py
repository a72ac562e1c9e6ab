"""Keras 2's virtual batches: parts of a batch that are normalized each by its own statistics.

Sample i goes to ghost batch i modulo their number, so the parts interleave and are no blocks. An
axis that counts them comes after the batch axis, and every parameter has a 1 in its place.
Source: tf_keras 2.21.0, tf_keras/src/layers/normalization/batch_normalization.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from batchnorm.errors import InvalidType, InvalidValue

__all__ = ["check", "check_mask_of_nothing", "split"]


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


def split(shape: tuple[int, ...], size: int | None) -> tuple[int, ...]:
    """The batch's shape as (size, number of ghost batches, ...); one ghost batch without a size.

    A batch without samples has no ghost batches, which no array could be averaged over: it stays
    one, of nothing, and its averages are NaN as those of no ghost batches are.
    """
    if size is None:
        return (shape[0], 1, *shape[1:])
    if not isinstance(size, int | np.integer):
        raise InvalidValue(f"virtual_batch_size must be an integer, but got {size!r}")
    samples, size = shape[0], int(size)
    if samples % size:
        raise InvalidValue(f"virtual_batch_size={size} doesn't divide the batch of {samples}")
    return (size, samples // size, *shape[1:]) if samples else (0, 1, *shape[1:])


def check_mask_of_nothing(mask: Any, shape: tuple[int, ...], size: int) -> None:
    """Of a batch without samples only the mask's shape counts, beside (size, 0, ...)."""
    given = np.shape(mask)
    try:
        np.broadcast_shapes((*given, 1), (int(size), 0, *shape[1:]))
    except ValueError:
        raise InvalidValue(
            f"a mask of shape {given}, with an axis appended, doesn't broadcast to ghost batches "
            f"of shape {(int(size), 0, *shape[1:])}"
        ) from None
