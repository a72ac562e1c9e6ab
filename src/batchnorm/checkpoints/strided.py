"""Arrays inside a storage: an offset, a shape and strides; read piece by piece.

Any view is streamed in C order in pieces of bounded size, also one that is stored transposed or
that a transposition was asked of, so that no array has to fit into memory. It knows no format.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from batchnorm.checkpoints.storage import Array, MemoryStorage, Storage
from batchnorm.checkpoints.streamed import BLOCK, Streamed, blocks
from batchnorm.errors import CheckpointError

__all__ = [
    "Layout",
    "Strided",
    "decoded",
    "little_endian",
    "native",
]

GATHER = 32 << 20  # bytes of storage read at once for a view that is not contiguous


@dataclass(frozen=True)
class Strided:
    """A view of a storage; strides in bytes, never negative."""

    storage: Storage
    dtype: np.dtype[Any]  # in native byte order
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0
    place: str = "the array"
    swapped: bool = False  # stored in the other byte order

    @staticmethod
    def contiguous(
        storage: Storage,
        dtype: np.dtype[Any],
        shape: tuple[int, ...],
        place: str = "the array",
        offset: int = 0,
        swapped: bool = False,
    ) -> Strided:
        """Values in C order, from `offset` on."""
        strides = c_strides(shape, dtype.itemsize)
        return Strided(storage, dtype, shape, strides, offset, place, swapped)

    def chunks(self, max_bytes: int) -> Iterator[Array]:
        """The values in C order, as one-dimensional arrays of at most about `max_bytes`."""
        step = max(max_bytes // self.dtype.itemsize, 1)
        if self.is_contiguous:
            size = math.prod(self.shape)
            for start in range(0, size, step):
                yield self._read(start, min(step, size - start))
            return
        for index, shape in blocks(self.shape, max(BLOCK // self.dtype.itemsize, 1)):
            out = np.empty(shape, self.dtype)
            self._gather(self._at(index), self._block_strides(shape), out)
            flat = out.reshape(-1)
            for start in range(0, flat.size, step):
                yield self._native(flat[start : start + step])

    @property
    def is_contiguous(self) -> bool:
        """Whether the values lie in C order without gaps."""
        expected = c_strides(self.shape, self.dtype.itemsize)
        pairs = zip(self.shape, self.strides, expected, strict=True)
        return math.prod(self.shape) == 0 or all(n == 1 or s == e for n, s, e in pairs)

    def load(self) -> Array:
        """All values at once."""
        if self.is_contiguous:
            return self._read(0, math.prod(self.shape)).reshape(self.shape)
        out = np.empty(self.shape, self.dtype)
        self._gather(self.offset, self.strides, out)
        return self._native(out)

    def rearranged(self, split: tuple[int, ...], axes: tuple[int, ...]) -> Layout:
        """The values reshaped to `split` and transposed by `axes`; a view where that is one."""
        if self.is_contiguous:
            strides = c_strides(split, self.dtype.itemsize)
        elif split == self.shape:
            strides = self.strides
        else:
            return Streamed(self.shape, self.dtype, self.chunks, self.place).rearranged(split, axes)
        return replace(
            self, shape=tuple(split[a] for a in axes), strides=tuple(strides[a] for a in axes)
        )

    def _read(self, start: int, count: int) -> Array:
        out = np.empty(count, self.dtype)
        if count:
            self.storage.readinto(self.offset + start * self.dtype.itemsize, _bytes_of(out))
        return self._native(out)

    def _native(self, out: Array) -> Array:
        return native(out, self.swapped, f"{self.storage.label}: {self.place}".removeprefix(": "))

    def _at(self, index: tuple[int, ...]) -> int:
        return self.offset + sum(i * s for i, s in zip(index, self.strides, strict=False))

    def _block_strides(self, block: tuple[int, ...]) -> tuple[int, ...]:
        return self.strides[len(self.strides) - len(block) :]

    def _gather(self, offset: int, strides: tuple[int, ...], out: Array) -> None:
        """Copy the view into `out`, reading at most about `GATHER` bytes of storage at once."""
        if out.size == 0:
            return
        reach = [(n - 1) * s for n, s in zip(out.shape, strides, strict=True)]
        span = sum(reach) + out.itemsize
        if span <= max(GATHER, out.itemsize):
            piece = np.empty(span, np.uint8)
            self.storage.readinto(offset, piece.data)
            out[...] = np.ndarray(out.shape, out.dtype, piece, 0, strides)
            return
        axis = max(range(len(reach)), key=lambda a: reach[a])
        half = out.shape[axis] // 2
        left, right = np.split(out, [half], axis)  # views of out
        self._gather(offset, strides, left)
        self._gather(offset + half * strides[axis], strides, right)


Layout = Strided | Streamed  # where an entry's values come from


def c_strides(shape: Sequence[int], itemsize: int) -> tuple[int, ...]:
    """Strides in bytes of an array in C order."""
    strides, step = [], itemsize
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


def decoded(data: bytes, dtype: np.dtype[Any], swapped: bool, place: str) -> Array:
    """The one-dimensional array whose values are stored as `data`."""
    shape = (len(data) // dtype.itemsize,)
    return Strided.contiguous(MemoryStorage(data), dtype, shape, place, 0, swapped).load()


def little_endian(array: Array) -> memoryview:
    """The bytes of a native array as every format that we write wants them."""
    if sys.byteorder == "big" and array.dtype.itemsize > 1:
        array = (array.view(np.uint16) if array.dtype.kind == "V" else array).byteswap()
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def native(out: Array, swapped: bool, place: str) -> Array:
    """Values as they were stored, made native in place; bools are checked."""
    if out.dtype == np.bool_ and out.size and out.view(np.uint8).max() > 1:
        raise CheckpointError(f"{place}: a bool that is neither 0 nor 1; the file is damaged")
    if swapped and out.dtype.itemsize > 1:  # bfloat16 can't swap its bytes by itself
        (out.view(np.uint16) if out.dtype.kind == "V" else out).byteswap(inplace=True)
    return out


def _bytes_of(array: Array) -> memoryview:
    return array.view(np.uint8).data
