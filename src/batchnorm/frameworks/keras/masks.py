"""How the two Keras dialects turn a mask into weights of the values.

In both the mask lacks the channel axis, which is appended to it: so it fits axis=-1 only.
Sources: tf_keras 2.21.0 and keras 3.15.1, batch_normalization.py.
"""

from __future__ import annotations

from typing import Any

from batchnorm.computation import Masking, shape_of
from batchnorm.errors import InvalidAttribute, InvalidValue

__all__ = ["keras_masking", "tf_keras_masking"]


def tf_keras_masking(mask: Any, shape: tuple[int, ...]) -> Masking:
    """Keras 2: the mask's own numbers; a NaN or inf that it leaves out still spoils its channel."""
    return Masking(_appended(shape_of(mask), shape), truth=False)


def keras_masking(mask: Any, shape: tuple[int, ...], used: bool) -> Masking | None:
    """Keras 3: 0 and 1; anything but 0 counts as True, and 0.5 as much as 1.

    Where it isn't `used`, in inference, its rank is looked at and nothing else.
    """
    if not hasattr(mask, "shape"):
        raise InvalidAttribute(f"a mask must be an array, but got {type(mask).__name__}: {mask!r}")
    given = tuple(mask.shape)
    if len(given) != len(shape) - 1:
        raise InvalidValue(
            f"a mask must have one dimension less than the inputs, but its shape is {given} and "
            f"theirs {shape}"
        )
    return Masking(_appended(given, shape), truth=True) if used else None


def _appended(given: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The mask's shape with an axis for the channels, which must broadcast to the input's."""
    found = (*given, 1)
    fits = zip(reversed(found), reversed(shape), strict=False)
    if len(found) > len(shape) or not all(own in (1, whole) for own, whole in fits):
        raise InvalidValue(
            f"a mask of shape {given}, with an axis appended, doesn't broadcast to inputs of "
            f"shape {shape}"
        )
    return found
