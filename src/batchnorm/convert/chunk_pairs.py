"""Two arrays side by side, piece by piece: entries give pieces of lengths of their own."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from batchnorm.checkpoints import Entry
from batchnorm.vocabulary import Array

__all__ = ["chunk_pairs"]

SIZE = 1 << 21


def chunk_pairs(a: Entry, b: Entry) -> Iterator[tuple[Array, Array]]:
    """Pieces of one length of two entries with equally many values, in C order."""
    return zip(_pieces(a), _pieces(b), strict=True)


def _pieces(entry: Entry) -> Iterator[Array]:
    held: list[Array] = []
    count = 0
    for piece in entry.chunks(SIZE * entry.dtype.itemsize):
        held.append(piece)
        count += piece.size
        while count >= SIZE:
            joined = np.concatenate(held)
            yield joined[:SIZE]
            held, count = [joined[SIZE:]], count - SIZE
    if count:
        yield np.concatenate(held)
