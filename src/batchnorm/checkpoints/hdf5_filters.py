"""HDF5's filters undone: deflate, shuffle and Fletcher-32, a chunk at a time, into given memory.

A chunk passes through in small pieces, so that none of the filters holds it a second time; only a
shuffle in the middle of others has to. Facts: HDF5 File Format Specification 3.0, IV.A.2.l; files
of h5py 3.14. Not here: where chunks are (`hdf5_data`).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from batchnorm.checkpoints.checksums import Fletcher32
from batchnorm.checkpoints.source import Source
from batchnorm.checkpoints.storage import Array

__all__ = ["Filter", "Pipeline", "read_filters"]

DEFLATE, SHUFFLE, FLETCHER32 = 1, 2, 3
MOST = 8
PIECE = 1 << 16


class Filter(NamedTuple):
    """One filter, and the first of its numbers: for shuffle, the bytes of a value."""

    kind: int
    number: int


def read_filters(source: Source, data: bytes, place: str) -> list[Filter]:
    """The filters that a message lists, in the order in which they were applied."""
    found: list[Filter] = []
    if len(data) < 2 or data[0] not in (1, 2) or data[1] > MOST:
        source.fail(place, "a list of filters that can't be read")
    at = 8 if data[0] == 1 else 2
    for _ in range(data[1]):
        if at + (8 if data[0] == 1 else 6) > len(data):
            source.fail(place, "a list of filters that is cut short")
        (kind,) = struct.unpack_from("<H", data, at)
        if kind not in (DEFLATE, SHUFFLE, FLETCHER32):
            source.fail(
                place, f"filter {kind} is none of gzip, shuffle, fletcher32; save it without"
            )
        if data[0] == 1:
            name, _, count = struct.unpack_from("<HHH", data, at + 2)
            numbers = at + 8 + -(-name // 8) * 8
            at = numbers + 4 * (count + count % 2)
        else:
            (count,) = struct.unpack_from("<H", data, at + 4)
            numbers = at + 6
            at = numbers + 4 * count
        number = data[numbers : numbers + 4] if count else b""
        found.append(Filter(kind, int.from_bytes(number, "little")))
    return found


class Pipeline:
    """The filters of one dataset, undone for each of its chunks."""

    def __init__(self, source: Source, filters: list[Filter], itemsize: int, place: str) -> None:
        self._source, self._filters, self._itemsize = source, filters, itemsize
        self._place = place
        for each in filters:
            if each.kind == SHUFFLE and each.number != itemsize:
                source.fail(place, f"values of {itemsize} bytes shuffled as of {each.number}")

    @property
    def copies(self) -> int:
        """How many times a chunk is in memory, besides where it goes."""
        return 2 if any(f.kind == SHUFFLE for f in self._filters[1:]) else 0

    def undo(self, address: int, size: int, mask: int, out: Array) -> None:
        """Fill the bytes of `out`, a flat array, with a chunk's."""
        applied = [f for index, f in enumerate(self._filters) if not mask >> index & 1]
        pieces = self._stored(address, size)
        most = out.size + out.size // 100 + 1024  # what filters may add
        for each in reversed(applied[1:]):
            pieces = self._undone(each, pieces, most)
        done = 0
        planes = out.reshape(-1, self._itemsize) if applied and applied[0].kind == SHUFFLE else None
        if applied and planes is None:
            pieces = self._undone(applied[0], pieces, most)
        for piece in pieces:
            if done + len(piece) > out.size:
                self._fail(f"a chunk of more than its {out.size} bytes")
            values = np.frombuffer(piece, np.uint8)
            if planes is None:
                out[done : done + values.size] = values
            else:
                _to_planes(values, planes, done)
            done += values.size
        if done != out.size:
            self._fail(f"a chunk of {done} bytes, not {out.size}")

    def _fail(self, reason: str) -> None:
        self._source.fail(self._place, reason)

    def _stored(self, address: int, size: int) -> Iterator[bytes]:
        self._source.check_range(address, size, self._place)
        for start in range(0, size, PIECE):
            yield self._source.read(address + start, min(PIECE, size - start), self._place)

    def _undone(self, each: Filter, pieces: Iterable[bytes], most: int) -> Iterator[bytes]:
        if each.kind == DEFLATE:
            return self._inflated(pieces, most)
        if each.kind == FLETCHER32:
            return self._checked(pieces)
        return self._unshuffled(pieces, most)

    def _checked(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """What comes before the last four bytes, which are its checksum."""
        checksum, held = Fletcher32(), b""
        for piece in pieces:
            held += piece
            if len(held) > 4:
                checksum.update(held[:-4])
                yield held[:-4]
                held = held[-4:]
        if not checksum.fits(held):
            self._fail(
                "a chunk's Fletcher-32 checksum does not fit its bytes; the file is damaged, fetch "
                "or save it again"
            )

    def _inflated(self, pieces: Iterable[bytes], most: int) -> Iterator[bytes]:
        inflater, made = zlib.decompressobj(), 0
        try:
            for piece in pieces:
                pending = piece
                while pending:
                    out = inflater.decompress(pending, PIECE)
                    pending = inflater.unconsumed_tail
                    made += len(out)
                    if made > most:
                        self._fail("a chunk that becomes larger than its dataset says")
                    if out:
                        yield out
                    elif not pending:
                        break
            yield inflater.flush()
        except zlib.error as error:
            self._fail(f"a chunk can't be decompressed ({error})")
        if not inflater.eof:
            self._fail("a chunk's compressed bytes are cut short")

    def _unshuffled(self, pieces: Iterable[bytes], most: int) -> Iterator[bytes]:
        data = bytearray()
        for piece in pieces:
            data += piece
            if len(data) > most:
                self._fail("a chunk that becomes larger than its dataset says")
        whole = len(data) // self._itemsize * self._itemsize
        planes = np.frombuffer(data, np.uint8, whole).reshape(self._itemsize, -1)
        yield planes.T.tobytes()
        yield bytes(data[whole:])


def _to_planes(values: Array, planes: Array, done: int) -> None:
    """Put shuffled bytes where they belong: all first bytes of values come first, and so on."""
    count = len(planes)
    while values.size:
        plane, row = divmod(done, count)
        part = min(values.size, count - row)
        planes[row : row + part, plane] = values[:part]
        values, done = values[part:], done + part
