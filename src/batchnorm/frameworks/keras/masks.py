"""How the two Keras dialects turn a mask into weights of the values.

In both the mask lacks the channel axis, which is appended to it: so it fits axis=-1 only.
Sources: tf_keras 2.21.0 and keras 3.15.1, batch_normalization.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from batchnorm.errors import InvalidAttribute, InvalidValue
from batchnorm.vocabulary import Array

__all__ = ["keras_weights", "tf_keras_weights"]


def tf_keras_weights(mask: Any, x: Array) -> Array:
    """Keras 2: the mask's own numbers; a NaN or inf that it leaves out still spoils its channel."""
    weights = _broadcast(np.asarray(mask, x.dtype), x)
    return np.where(np.isfinite(x) | (weights != 0), weights, np.nan)


def keras_weights(mask: Any, x: Array, used: bool) -> Array | None:
    """Keras 3: 0 and 1; anything but 0 counts as True, and 0.5 as much as 1.

    Where it isn't `used`, in inference, its rank is looked at and nothing else.
    """
    if not hasattr(mask, "shape"):
        raise InvalidAttribute(f"a mask must be an array, but got {type(mask).__name__}: {mask!r}")
    mask = np.asarray(mask)
    if mask.ndim != x.ndim - 1:
        raise InvalidValue(
            f"a mask must have one dimension less than the inputs, but its shape is {mask.shape} "
            f"and theirs {x.shape}"
        )
    return _broadcast((mask != 0).astype(np.float64), x) if used else None


def _broadcast(mask: Array, x: Array) -> Array:
    try:
        return np.broadcast_to(mask[..., None], x.shape)
    except ValueError:
        raise InvalidValue(
            f"a mask of shape {mask.shape}, with an axis appended, doesn't broadcast to inputs of "
            f"shape {x.shape}"
        ) from None
