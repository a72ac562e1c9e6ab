"""The two checksums of HDF5: Fletcher-32 of chunks, and lookup3 of version 2 headers.

zlib has CRC-32 and Adler-32 and none of these. Facts: HDF5 File Format Specification 3.0, III.G and
IV.A.2.l; B. Jenkins, "lookup3.c", 2006; checked against what h5py 3.14 writes.
"""

from __future__ import annotations

import numpy as np

__all__ = ["Fletcher32", "lookup3"]

STEP = 1 << 16  # words that are added up at once
MASK = 0xFFFFFFFF


class Fletcher32:
    """HDF5's Fletcher-32: sums modulo 65535 of big-endian words of 16 bits."""

    def __init__(self) -> None:
        self._first = self._second = 0
        self._odd = b""

    def update(self, data: bytes | memoryview) -> None:
        """Take the next bytes."""
        data = self._odd + bytes(data) if self._odd else data
        even = len(data) // 2 * 2
        self._odd = bytes(data[even:])
        words = np.frombuffer(data[:even], ">u2")
        for start in range(0, words.size, STEP):
            self._add(words[start : start + STEP].astype(np.uint64))

    def _add(self, words: np.ndarray[tuple[int, ...], np.dtype[np.uint64]]) -> None:
        weights = np.arange(words.size, 0, -1, dtype=np.uint64)
        self._second += words.size * self._first + int((words * weights).sum())
        self._first += int(words.sum())

    def value(self) -> int:
        """The checksum of everything so far."""
        first, second = self._first, self._second
        if self._odd:
            first += self._odd[0] << 8
            second += first
        return _folded(second) << 16 | _folded(first)

    def fits(self, stored: bytes) -> bool:
        """Whether four bytes behind the data are theirs; HDF5 1.6.2 swapped them in pairs."""
        value = self.value()
        old = (value & 0x00FF00FF) << 8 | (value & 0xFF00FF00) >> 8
        return int.from_bytes(stored, "little") in (value, old)


def _folded(total: int) -> int:
    """The sum as end-around carries leave it: 65535 stands for its multiples, but not for 0."""
    return (total - 1) % 65535 + 1 if total else 0


def lookup3(data: bytes) -> int:
    """Jenkins' hash of bytes, as HDF5 begins it (from 0)."""
    a = b = c = (0xDEADBEEF + len(data)) & MASK
    end = max((len(data) - 1) // 12 * 12, 0)
    for x, y, z in np.frombuffer(data[:end], "<u4").reshape(-1, 3).tolist():
        a, b, c = (a + x) & MASK, (b + y) & MASK, (c + z) & MASK
        a = ((a - c) ^ _turned(c, 4)) & MASK
        c = (c + b) & MASK
        b = ((b - a) ^ _turned(a, 6)) & MASK
        a = (a + c) & MASK
        c = ((c - b) ^ _turned(b, 8)) & MASK
        b = (b + a) & MASK
        a = ((a - c) ^ _turned(c, 16)) & MASK
        c = (c + b) & MASK
        b = ((b - a) ^ _turned(a, 19)) & MASK
        a = (a + c) & MASK
        c = ((c - b) ^ _turned(b, 4)) & MASK
        b = (b + a) & MASK
    rest = data[end:]
    if not rest:
        return int(c)
    x, y, z = np.frombuffer(rest.ljust(12, b"\0"), "<u4").tolist()
    a, b, c = (a + x) & MASK, (b + y) & MASK, (c + z) & MASK
    c = ((c ^ b) - _turned(b, 14)) & MASK
    a = ((a ^ c) - _turned(c, 11)) & MASK
    b = ((b ^ a) - _turned(a, 25)) & MASK
    c = ((c ^ b) - _turned(b, 16)) & MASK
    a = ((a ^ c) - _turned(c, 4)) & MASK
    b = ((b ^ a) - _turned(a, 14)) & MASK
    return int(((c ^ b) - _turned(b, 24)) & MASK)


def _turned(value: int, bits: int) -> int:
    return (value << bits | value >> (32 - bits)) & MASK
