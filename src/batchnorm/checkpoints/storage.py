"""Bytes that arrays are views of: of a file, in one or several extents, or of memory.

It knows no format; `strided` makes arrays of it.
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Protocol

import numpy as np

from batchnorm.checkpoints.source import Source

__all__ = ["Array", "FileStorage", "MemoryStorage", "Storage"]

Array = np.ndarray[Any, np.dtype[Any]]


class Storage(Protocol):
    """Bytes that can be read at any offset; `label` is the file's name, or empty."""

    size: int
    label: str

    def readinto(self, offset: int, view: memoryview) -> None:
        """Fill `view` with the bytes at `offset`."""


class MemoryStorage:
    """The bytes of an array that is in memory, or bytes."""

    def __init__(self, data: Array | bytes) -> None:
        if isinstance(data, bytes):
            self._bytes = memoryview(data)
        else:
            self._bytes = np.ascontiguousarray(data).reshape(-1).view(np.uint8).data
        self.size, self.label = len(self._bytes), ""

    def readinto(self, offset: int, view: memoryview) -> None:
        """Fill `view` with the bytes at `offset`."""
        view[:] = self._bytes[offset : offset + len(view)]


class FileStorage:
    """Bytes of a file, in one extent or in several that belong together, with or without a CRC."""

    def __init__(
        self,
        source: Source,
        extents: Sequence[tuple[int, int]],
        place: str,
        crc32: int | None = None,
    ) -> None:
        for offset, length in extents:
            source.check_range(offset, length, place)
        self.source, self.label, self.place = source, source.label, place
        self.extents = list(extents)
        self._ends = list(accumulate(length for _, length in extents))
        self.size = self._ends[-1] if self._ends else 0
        self._crc32 = crc32

    def readinto(self, offset: int, view: memoryview) -> None:
        """Fill `view`; the first read checks the CRC of the whole storage, where there is one."""
        if self._crc32 is not None:
            self._verify(self._crc32)
        self._fill(offset, view)

    def _fill(self, offset: int, view: memoryview) -> None:
        done = 0
        index = bisect_right(self._ends, offset)
        while done < len(view):
            start, length = self.extents[index]
            skip = offset + done - (self._ends[index] - length)
            count = min(length - skip, len(view) - done)
            self.source.readinto(start + skip, view[done : done + count], self.place)
            done += count
            index += 1

    def _verify(self, expected: int) -> None:
        crc, buffer = 0, memoryview(bytearray(min(self.size, 1 << 20)))
        for offset in range(0, self.size, 1 << 20):
            piece = buffer[: min(1 << 20, self.size - offset)]
            self._fill(offset, piece)
            crc = zlib.crc32(piece, crc)
        if crc != expected:
            self.source.fail(
                self.place,
                f"the data have CRC {crc:08x} and the file says {expected:08x}; "
                "the file is damaged, fetch or save it again",
            )
        self._crc32 = None
