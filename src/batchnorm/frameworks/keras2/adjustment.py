"""Keras 2's `adjustment`: a scale and a bias of the user's own on the normalized values.

y = (x_hat * scale + bias) * gamma + beta,  scale, bias = adjustment(x.shape), in training only

Source: tf_keras 2.21.0, tf_keras/src/layers/normalization/batch_normalization.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from batchnorm import core
from batchnorm.errors import InvalidValue
from batchnorm.vocabulary import Adjust, Array

__all__ = ["Adjusted", "forward"]


@dataclass(frozen=True, eq=False)
class Adjusted:
    """What the backward of an adjusted forward needs."""

    saved: core.Saved
    scale: Array
    gamma: Array
    values: Array  # x_hat * scale + bias

    def backward(self, dy: Array) -> tuple[Array, Array, Array]:
        """The gradients of x, gamma and beta; the adjustment has none."""
        channel_axes = self.saved.settings.channel_axes
        axes = tuple(axis for axis in range(dy.ndim) if axis not in channel_axes)
        wide = dy.astype(np.float64)
        dx, _, _ = core.backward(self.saved, wide * self.gamma * self.scale, self.saved.x.dtype)
        return dx, (wide * self.values).sum(axis=axes), wide.sum(axis=axes)


def forward(
    x: Array,
    adjustment: Adjust,
    gamma: Array | None,
    beta: Array | None,
    running: core.Running | None,
    settings: core.Settings,
    weights: Array | None,
) -> tuple[Array, core.Running | None, Adjusted]:
    """As `core.forward`, with the adjustment between normalization and gamma."""
    channels = [x.shape[i] if i in settings.channel_axes else 1 for i in range(x.ndim)]

    def spread(values: Array | None, default: float) -> Array:
        return np.asarray(default if values is None else values.reshape(channels), np.float64)

    scale, bias = (np.asarray(value, np.float64) for value in adjustment(x.shape))
    try:
        np.broadcast_to(scale, x.shape), np.broadcast_to(bias, x.shape)
    except ValueError:
        raise InvalidValue(
            f"adjustment must give arrays that broadcast to inputs of shape {x.shape}, but gave "
            f"shapes {scale.shape} and {bias.shape}"
        ) from None
    x_hat, running, saved = core.forward(
        x, None, None, running, settings, weights=weights, dtype=np.dtype(np.float64)
    )
    adjusted = Adjusted(saved, scale, spread(gamma, 1.0), x_hat * scale + bias)
    y = adjusted.values * adjusted.gamma + spread(beta, 0.0)
    with np.errstate(all="ignore"):
        return y.astype(x.dtype), running, adjusted
