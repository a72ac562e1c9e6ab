"""Bytes that arrays are views of: of a file, in one or several extents, or of memory.

It knows no format; `strided` makes arrays of it.
"""

from __future__ import annotations

import tempfile
import weakref
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any, Protocol

import numpy as np

from batchnorm.checkpoints.source import Source
from batchnorm.errors import CheckpointError

__all__ = ["Array", "FileStorage", "MemoryStorage", "SpooledStorage", "Storage"]

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


class SpooledStorage:
    """Bytes that came piece by piece and are kept in a nameless temporary file."""

    def __init__(self, pieces: Iterable[Array]) -> None:
        self.label = ""
        try:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as this does
            for piece in pieces:
                self._file.write(np.ascontiguousarray(piece).view(np.uint8).data)
            self.size = self._file.tell()
        except OSError as error:
            raise CheckpointError(
                f"temporary folder {tempfile.gettempdir()}: {error.strerror}; an array that is "
                "compressed and is to be transposed is kept there: make room, or set TMPDIR"
            ) from None
        weakref.finalize(self, self._file.close)

    def readinto(self, offset: int, view: memoryview) -> None:
        """Fill `view` with the bytes at `offset`."""
        self._file.seek(offset)
        self._file.readinto(view)


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
