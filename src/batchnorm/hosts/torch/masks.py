"""Keras' masks as weights of a tensor's values, as `dialects/keras_masks.py` has them for arrays.

In both Keras dialects the mask lacks the channel axis, which is appended, so it fits axis=-1 only.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from batchnorm.errors import InvalidValue
from batchnorm.frameworks.keras3 import layers as keras

__all__ = ["weights"]


def weights(mask: Tensor, x: Tensor, layer: Any, used: bool) -> Tensor | None:
    """Keras 3: 0 and 1; Keras 2: the mask's own numbers. None where it isn't `used`."""
    if isinstance(layer, keras.BatchNormalization):
        if mask.dim() != x.dim() - 1:
            raise InvalidValue(
                f"a mask must have one dimension less than the inputs, but its shape is "
                f"{tuple(mask.shape)} and theirs {tuple(x.shape)}"
            )
        return _spread((mask != 0).to(torch.float64), x) if used else None
    if not used:
        return None
    found = _spread(mask.to(x.dtype), x)
    # A NaN or inf that the mask leaves out still spoils its channel, as in Keras 2.
    lost = torch.full((), float("nan"), dtype=found.dtype, device=x.device)
    return torch.where(torch.isfinite(x) | (found != 0), found, lost)


def _spread(mask: Tensor, x: Tensor) -> Tensor:
    try:
        return mask[..., None].expand(x.shape)
    except RuntimeError:
        raise InvalidValue(
            f"a mask of shape {tuple(mask.shape)}, with an axis appended, doesn't broadcast to "
            f"inputs of shape {tuple(x.shape)}"
        ) from None
