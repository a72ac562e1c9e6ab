"""A kernel times one number per output channel: which axis that is, and the product, streamed."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from batchnorm.checkpoints import Entry
from batchnorm.convert.fold import output_axes
from batchnorm.convert.groups import CHANNELS_LAST, Group
from batchnorm.errors import CheckpointError
from batchnorm.vocabulary import Array

__all__ = ["layout_of", "scaled"]


def layout_of(conv: Group, norm: Group) -> str:
    """The kernel's layout, by its form, or by the side that has the batch norm's width.

    Raises:
        CheckpointError: it has none that a batch norm follows.
    """
    shape, rank = conv.members["weight"].shape, len(conv.members["weight"].shape)
    letters = {2: "", 3: "W", 4: "HW", 5: "DHW"}.get(rank)
    if letters is None:
        raise CheckpointError(f"{conv.label}: a kernel of shape {shape} can't be folded into")
    transposed = conv.form == "conv_transpose"
    if conv.framework in CHANNELS_LAST:
        if conv.form == "depthwise":
            return f"{letters}CM"
        return f"{letters}{'OI' if transposed else 'IO'}"
    transposed = transposed or (rank > 2 and shape[0] != norm.channels == shape[1])
    return f"{'IO' if transposed else 'OI'}{letters}"


def scaled(
    weight: Entry, scale: Array, layout: str, groups: int = 1, *, back: bool = False
) -> Entry:
    """The kernel times (or, on the way back, divided by) a number per channel, piece by piece.

    With groups the inputs of a transposed convolution come in as many parts, each with outputs of
    its own.
    """
    at = output_axes(layout)  # which are neighbours in every layout
    inner = math.prod(weight.shape[at[-1] + 1 :])
    own = scale.size // groups  # outputs of one group
    inputs = weight.shape[0] // groups if groups > 1 else 1

    def pieces(max_bytes: int) -> Iterator[Array]:
        start = 0
        for piece in weight.chunks(max_bytes):
            place = np.arange(start, start + piece.size) // inner
            channel = place % own
            if groups > 1:
                channel += place // own // inputs * own
            wide = piece.astype(np.float64)
            wide = wide / scale[channel] if back else wide * scale[channel]
            start += piece.size
            with np.errstate(over="ignore"):
                yield wide.astype(weight.dtype)

    return Entry.streamed(weight.name, weight.shape, weight.dtype, pieces)
