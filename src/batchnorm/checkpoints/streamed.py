"""Arrays whose values can only be read from the first to the last: compressed, or computed.

Also in another order: a transposition is put together in blocks of bounded size, for each of which
all values pass once more, so that reading needs neither the array's size twice nor a temporary
file. It knows no format; views of a storage are `strided`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from batchnorm.checkpoints.storage import Array
from batchnorm.errors import CheckpointError

__all__ = ["BLOCK", "Streamed", "blocks"]

BLOCK = 64 << 20  # bytes put together at once of an array in another order than it is stored in


@dataclass(frozen=True)
class Streamed:
    """Values that can only be read from the first to the last: compressed, or computed.

    Attributes:
        shape, dtype: of the array.
        open: called with a number of bytes, yields one-dimensional native arrays.
        place: what errors call it.
        fill: puts all values into a given array of any strides, where there is a shorter way.
        origin: the layout, split and axes that this one was rearranged from.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    open: Callable[[int], Iterator[Array]]
    place: str = "the array"
    fill: Callable[[Array], None] | None = None
    origin: tuple[Streamed, tuple[int, ...], tuple[int, ...]] | None = None

    def chunks(self, max_bytes: int) -> Iterator[Array]:
        """The values in C order, checked against the declared shape and type."""
        left = math.prod(self.shape)
        for piece in self.open(max_bytes):
            left -= piece.size
            if left < 0 or piece.dtype != self.dtype:
                raise CheckpointError(
                    f"{self.place}: yields {piece.dtype} values beyond the declared shape "
                    f"{self.shape} of {self.dtype}"
                )
            yield piece.reshape(-1)
        if left:
            raise CheckpointError(f"{self.place}: ends {left} values before its shape {self.shape}")

    def load(self) -> Array:
        """All values at once."""
        out = np.empty(self.shape, self.dtype)
        if self.origin is not None:
            base, split, axes = self.origin
            base._scatter(split, axes, (), out)
        elif self.fill is not None:
            self.fill(out)
        else:
            flat, done = out.reshape(-1), 0
            for piece in self.chunks(1 << 20):
                flat[done : done + piece.size] = piece
                done += piece.size
        return out

    def rearranged(self, split: tuple[int, ...], axes: tuple[int, ...]) -> Streamed:
        """The values reshaped and transposed; they are decompressed when they are asked for.

        In blocks of bounded size, for each of which all values are read once more.
        """
        if self.origin is not None and split == self.shape:
            base, first, order = self.origin
            return base.rearranged(first, tuple(order[axis] for axis in axes))
        shape = tuple(split[axis] for axis in axes)

        def pieces(max_bytes: int) -> Iterator[Array]:
            step = max(max_bytes // self.dtype.itemsize, 1)
            for start, block in blocks(shape, max(BLOCK // self.dtype.itemsize, 1)):
                out = np.empty(block, self.dtype)
                self._scatter(split, axes, start, out)
                flat = out.reshape(-1)
                for at in range(0, flat.size, step):
                    yield flat[at : at + step]

        return Streamed(shape, self.dtype, pieces, self.place, origin=(self, split, axes))

    def _scatter(
        self, split: tuple[int, ...], axes: tuple[int, ...], start: tuple[int, ...], out: Array
    ) -> None:
        """Fill `out`, the block at `start` of the rearranged array, from a pass over all values."""
        moved = [split[axis] for axis in axes]
        ends = [at + 1 for at in start]
        if start:
            ends[-1] = start[-1] + len(out)
        box = [*zip(start, ends, strict=True), *((0, size) for size in moved[len(start) :])]
        inverse = np.argsort(axes) if axes else ()
        view = out.reshape([end - at for at, end in box]).transpose(
            *inverse
        )  # in the split's order
        wanted = [box[axis] for axis in inverse]
        if self.fill is not None and split == self.shape and view.shape == split:
            self.fill(view)
            return
        done = 0
        for piece in self.chunks(1 << 20):
            for part, at in _boxes(split, done, done + piece.size):
                low = [max(p[0], w[0]) for p, w in zip(part, wanted, strict=True)]
                high = [min(p[1], w[1]) for p, w in zip(part, wanted, strict=True)]
                if all(map(int.__lt__, low, high)) or not part:
                    sizes = [end - begin for begin, end in part]
                    values = piece[at - done : at - done + math.prod(sizes)].reshape(sizes)
                    ours = tuple(
                        slice(a - p[0], b - p[0]) for a, b, p in zip(low, high, part, strict=True)
                    )
                    theirs = tuple(
                        slice(a - w[0], b - w[0]) for a, b, w in zip(low, high, wanted, strict=True)
                    )
                    view[theirs] = values[ours]
            done += piece.size


def _boxes(
    shape: tuple[int, ...], begin: int, end: int
) -> Iterator[tuple[list[tuple[int, int]], int]]:
    """The values `begin … end` of an array in C order as boxes: ranges, and where they begin."""
    if begin == end:
        return
    if not shape:
        yield [], begin
        return
    inner = math.prod(shape[1:])
    first, last = -(-begin // inner), end // inner
    if first > last:  # all in one row
        for part, at in _boxes(shape[1:], begin - last * inner, end - last * inner):
            yield [(last, last + 1), *part], last * inner + at
        return
    for part, at in _boxes(shape[1:], begin - (first - 1) * inner, inner) if begin % inner else ():
        yield [(first - 1, first), *part], (first - 1) * inner + at
    if first < last:
        yield [(first, last), *((0, size) for size in shape[1:])], first * inner
    for part, at in _boxes(shape[1:], 0, end - last * inner):
        yield [(last, last + 1), *part], last * inner + at


def blocks(shape: tuple[int, ...], items: int) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Cut an array into blocks of at most `items`, in C order: (start of block, its shape)."""
    if math.prod(shape) == 0:
        return
    axis, inner = len(shape), 1
    while axis and inner * shape[axis - 1] <= items:
        axis -= 1
        inner *= shape[axis]
    if axis == 0:
        yield (), shape
        return
    axis -= 1
    step = max(items // inner, 1)
    for outer in np.ndindex(*shape[:axis]):
        for start in range(0, shape[axis], step):
            count = min(step, shape[axis] - start)
            yield (*outer, start), (count, *shape[axis + 1 :])
