"""What a dialect decides on one call: `Layer.decide` gives it, and whoever computes follows it.

Layers compute with it in NumPy, hosts trace it in their own framework, recalibration takes its
statistics by it. Not here: any rule of a dialect, which are in its own `decide`, and the arithmetic
(`core`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from batchnorm import core
from batchnorm.errors import InvalidValue
from batchnorm.vocabulary import Array

__all__ = ["Computation", "Masking", "mask_without_channels", "shape_of"]


@dataclass(slots=True, eq=False)
class Masking:
    """How a mask becomes weights of the values.

    Args:
        shape: what a mask is reshaped to before it broadcasts against the input.
        truth: whether anything but 0 counts as 1. If not, the mask's own numbers are the weights,
            and a NaN or inf with a weight of 0 still spoils its channel.
    """

    shape: tuple[int, ...]
    truth: bool


@dataclass(slots=True, eq=False)
class Computation:
    """What an input of some shape and type is done with.

    Args:
        settings: of the core: mode, channel axes, correction, epsilon and factor as the framework
            rounds them, the count's offset, ghost batches, renorm.
        dtype: of the result.
        casts: types that the input's real part passes through before all else, to 16 bits by way
            of float32 as all backends do: a float64 is rounded twice.
        split: the input's shape as ghost batches, (size, their number, ...); None without them.
        masking: how the mask counts; None where it doesn't, or where there is none.
        counts: whether the number of batches tracked goes up.
        cumulative: whether the factor is one over that number, which the next call has another of.
        guarded: whether one value per channel lets the biased variance enter the running one; the
            correction in `settings` is that of the number of values that was asked about.
        skips_empty: whether an empty batch leaves the running statistics alone; the mode in
            `settings` is that of the number of values that was asked about.
        passes: whether the input is given back instead, as torch does with an empty batch.

    >>> import batchnorm as bn
    >>> layer = bn.tf_keras.BatchNormalization(virtual_batch_size=2)
    >>> found = layer.decide((4, 3), "float16", training=True)
    >>> found.split, found.settings.channel_axes, found.settings.groups, str(found.dtype)
    ((2, 2, 3), (1, 2), 2, 'float32')
    """

    settings: core.Settings
    dtype: np.dtype[Any]
    casts: tuple[np.dtype[Any], ...] = ()
    split: tuple[int, ...] | None = None
    masking: Masking | None = None
    counts: bool = False
    cumulative: bool = False
    guarded: bool = False
    skips_empty: bool = False
    passes: bool = False

    def input(self, x: Array) -> Array:
        """The input as the core takes it: real, cast, and split into ghost batches."""
        if x.dtype.kind == "c":
            x = x.real
        for dtype in self.casts:
            if x.dtype != dtype:
                with np.errstate(all="ignore"):
                    x = x.astype(np.float32) if dtype.itemsize == 2 else x
                    x = x.astype(dtype)
        return x if self.split is None else x.reshape(self.split)

    def weights(self, mask: Any, x: Array) -> Array | None:
        """How much each value of `x`, as `input` gives it, counts; None for all alike.

        Raises:
            ValueError: the mask doesn't broadcast to x.
        """
        if self.masking is None:
            return None
        if self.masking.truth:
            return self._spread((np.asarray(mask) != 0).astype(np.float64), x)
        found = self._spread(np.asarray(mask, x.dtype), x)
        return np.where(np.isfinite(x) | (found != 0), found, np.nan)

    def _spread(self, mask: Array, x: Array) -> Array:
        assert self.masking is not None
        try:
            return np.broadcast_to(mask.reshape(self.masking.shape), x.shape)
        except ValueError:
            raise InvalidValue(
                f"a mask of shape {mask.shape}, which becomes {self.masking.shape}, doesn't "
                f"broadcast to inputs of shape {x.shape}"
            ) from None


def mask_without_channels(mask: Any, shape: tuple[int, ...], axis: int) -> Masking:
    """The rule of dialects that have no masks of their own: samples, or values of all channels.

    Raises:
        ValueError: another shape than (N,) or the input's without its channel axis.
    """
    given, rank = shape_of(mask), len(shape)
    if len(given) == 1:
        return Masking(given + (1,) * (rank - 1), truth=True)
    if len(given) == rank - 1:
        return Masking((*given[:axis], 1, *given[axis:]), truth=True)
    raise InvalidValue(
        f"a mask must have shape (N,) or the input's without axis {axis}, but its shape is {given} "
        f"for an input of rank {rank}"
    )


def shape_of(mask: Any) -> tuple[int, ...]:
    """The shape of a mask, which may be any array, of a host too, or a list."""
    return tuple(mask.shape) if hasattr(mask, "shape") else np.shape(mask)
