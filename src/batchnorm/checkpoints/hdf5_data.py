"""HDF5 datasets: contiguous and compact ones are ranges of the file, chunked ones stream.

Filters (`hdf5_filters`) are what h5py offers as `compression="gzip"`, `shuffle=True` and
`fletcher32=True`; Keras uses none. Facts: HDF5 File Format Specification 3.0, IV.A.2.i (layout);
files of h5py 3.14. Virtual datasets and newer chunk indexes are refused.
"""

from __future__ import annotations

import math
import struct
from bisect import bisect_left
from collections.abc import Iterator
from operator import add
from typing import Any

import ml_dtypes
import numpy as np

from batchnorm.checkpoints.hdf5_filters import Pipeline, read_filters
from batchnorm.checkpoints.hdf5_objects import (
    FILL,
    FILTERS,
    LAYOUT,
    SPACE,
    TYPE,
    Object,
    tree_leaves,
)
from batchnorm.checkpoints.hdf5_types import Kind, dataspace, datatype
from batchnorm.checkpoints.source import Source, quoted
from batchnorm.checkpoints.storage import Array, FileStorage
from batchnorm.checkpoints.streamed import Streamed
from batchnorm.checkpoints.strided import Layout, Strided, native

__all__ = ["dataset_layout"]

UNDEFINED = 0xFFFFFFFFFFFFFFFF
COMPACT, CONTIGUOUS, CHUNKED, VIRTUAL = 0, 1, 2, 3
OPAQUE: dict[str, np.dtype[Any]] = {"bfloat16": np.dtype(ml_dtypes.bfloat16)}
BAND = 32 << 20  # bytes of an array in chunks that are put together at once
LARGE, MUCH = 1 << 20, 16  # a chunk may be larger than what is used of it: in bytes, and by times
_Chunk = tuple[tuple[int, ...], int, int, int]  # first index, address, bytes, mask of filters


def dataset_layout(source: Source, dataset: Object) -> Layout:
    """Where the dataset's values are."""
    place = f"dataset {quoted(dataset.path)}"
    missing = {SPACE, TYPE, LAYOUT} - set(dataset.messages)
    if missing:
        source.fail(place, "is not a dataset with shape, type and layout")
    shape = dataspace(source, dataset.messages[SPACE].data, place)
    kind = datatype(source, dataset.messages[TYPE].data, place)
    dtype = _named_type(source, dataset, kind, place)
    size = math.prod(shape) * dtype.itemsize
    if size > source.limit:
        source.fail(place, f"shape {shape} takes {size} bytes, more than this file can hold")
    message = dataset.messages[LAYOUT]
    data = message.data.ljust(24, b"\0")
    version, form = data[0], data[1]
    if version not in (3, 4, 5):
        source.fail(place, f"layout version {version} is not one that h5py 2 or 3 writes")
    if form == VIRTUAL:
        source.fail(place, "is virtual: its data are in other files, which are never opened")
    if form == CHUNKED and version == 3:
        return _Chunked(source, dataset, shape, dtype, kind.swapped, place).layout()
    if form == CHUNKED:
        source.fail(place, "has a chunk index of HDF5 1.10; save it with libver='earliest'")
    if FILTERS in dataset.messages:
        source.fail(place, "has filters without chunks; the file is damaged")
    if form == COMPACT:
        (length,) = struct.unpack_from("<H", data, 2)
        start = message.offset + 4
        if length + 4 > len(message.data):
            source.fail(place, "its compact data are cut short")
    elif form == CONTIGUOUS:
        start, length = struct.unpack_from("<QQ", data, 2)
        if size == 0:
            start, length = 0, 0  # nothing was allocated
        elif start == UNDEFINED:
            source.fail(place, "was declared and never written")
    else:
        source.fail(place, f"layout class {form} is unknown")
    if length != size:
        source.fail(place, f"shape {shape} of {dtype} takes {size} bytes and {length} are stored")
    storage = FileStorage(source, [(start, length)], place)
    return Strided.contiguous(storage, dtype, shape, place, swapped=kind.swapped)


def _named_type(source: Source, dataset: Object, kind: Kind, place: str) -> np.dtype[Any]:
    """The type; Keras stores 16- and 8-bit floats as opaque bytes and names them beside."""
    if kind.dtype is None:
        source.fail(place, "holds text, not numbers")
    if kind.dtype.kind == "V" and kind.dtype.names is None and kind.dtype.type is np.void:
        name = dataset.attributes["dtype"].text() if "dtype" in dataset.attributes else ""
        named = OPAQUE.get(name)
        if named is None or named.itemsize != kind.size:
            source.fail(place, f"opaque bytes that are not said to be a number ({quoted(name)})")
        return named
    return kind.dtype


class _Chunked:
    """A dataset in chunks, put together in bands of rows."""

    def __init__(
        self,
        source: Source,
        dataset: Object,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        swapped: bool,
        place: str,
    ) -> None:
        self._source, self._place = source, place
        self._shape, self._dtype, self._swapped = shape, dtype, swapped
        data = dataset.messages[LAYOUT].data
        rank = len(shape)
        if len(data) < 3 + 8 + 4 * (rank + 1) or data[2] != rank + 1 or rank == 0:
            source.fail(place, "its chunks have another rank than its shape")
        (self._tree,) = struct.unpack_from("<Q", data, 3)
        *chunk, itemsize = struct.unpack_from(f"<{rank + 1}I", data, 11)
        self._chunk = tuple(chunk)
        self._bytes = math.prod(chunk) * dtype.itemsize
        if itemsize != dtype.itemsize or not 0 < self._bytes <= source.limit:
            source.fail(place, f"chunks of shape {self._chunk} and {itemsize} bytes per value")
        message = dataset.messages.get(FILTERS)
        filters = [] if message is None else read_filters(source, message.data, place)
        self._pipeline = Pipeline(source, filters, dtype.itemsize, place)
        self._check_room()
        self._filled = FILL in dataset.messages and _fills(dataset.messages[FILL].data)
        self._rows: dict[int, list[_Chunk]] | None = None
        self._whole = False  # whether every chunk was written

    def _check_room(self) -> None:
        """Refuse chunks that take more memory than the dataset is worth."""
        present = math.prod(map(min, self._shape, self._chunk)) * self._dtype.itemsize
        if self._bytes > LARGE and self._bytes > MUCH * present:
            self._source.fail(
                self._place,
                f"chunks of {self._bytes} bytes for {present} that are used of each; the file is "
                "made to exhaust memory, or save it with smaller chunks",
            )
        needed = math.prod(self._shape) * self._dtype.itemsize
        needed += self._bytes * (self._pipeline.copies + (self._chunk != self._shape))
        if needed > self._source.limit:
            self._source.fail(
                self._place,
                f"shape {self._shape} in chunks of {self._chunk} takes {needed} bytes to be put "
                "together, more than a file of this size may; save it without compression",
            )

    def layout(self) -> Streamed:
        """The values from first to last."""
        where = f"{self._source.label}: {self._place}"
        return Streamed(self._shape, self._dtype, self._pieces, where, fill=self._fill)

    def _pieces(self, max_bytes: int) -> Iterator[Array]:
        length, inner = self._shape[0], self._shape[1:]
        if math.prod(self._shape) == 0:
            return
        height = self._chunk[0]
        band = max(BAND // (math.prod(inner) * self._dtype.itemsize), 1)
        if band > height:  # else a row of chunks is decoded several times, for memory's sake
            band -= band % height
        elif self._chunk == self._shape:
            band = length  # decoded where it goes
        for first in range(0, length, band):
            out = np.empty((min(band, length - first), *inner), self._dtype)
            self._put(out, first)
            yield out.reshape(-1)

    def _fill(self, out: Array) -> None:
        if out.size:
            self._put(out, 0)

    def _put(self, out: Array, first: int) -> None:
        """Fill `out`, of any strides, with the rows from `first` on."""
        rows, height, last = self._chunks_by_row(), self._chunk[0], first + len(out)
        if not self._whole:
            out[...] = 0
        starts = sorted(rows)
        begin = bisect_left(starts, first // height * height)
        for row in starts[begin : bisect_left(starts, last)]:
            for start, address, size, mask in rows[row]:
                top, bottom = max(row, first), min(row + height, last)
                ends = map(min, map(add, start[1:], self._chunk[1:]), self._shape[1:])
                columns = [(s, e) for s, e in zip(start[1:], ends, strict=True)]
                at = (slice(top - first, bottom - first), *(slice(s, e) for s, e in columns))
                kept = (slice(top - row, bottom - row), *(slice(0, e - s) for s, e in columns))
                part = out[at]
                if part.shape == self._chunk and part.flags.c_contiguous:
                    self._values(address, size, mask, part)
                else:
                    whole = np.empty(self._chunk, self._dtype)
                    self._values(address, size, mask, whole)
                    part[...] = whole[kept]

    def _chunks_by_row(self) -> dict[int, list[_Chunk]]:
        if self._rows is None:
            rows: dict[int, list[_Chunk]] = {}
            for chunk in self._index() if self._tree != UNDEFINED else ():
                rows.setdefault(chunk[0][0], []).append(chunk)
            pairs = zip(self._shape, self._chunk, strict=True)
            whole = sum(map(len, rows.values())) == math.prod(-(-n // c) for n, c in pairs)
            if not whole and self._filled:
                self._source.fail(self._place, "parts of it were never written; save it anew")
            self._rows, self._whole = rows, whole
        return self._rows

    def _index(self) -> Iterator[_Chunk]:
        rank, seen = len(self._shape), set()
        for key, address in tree_leaves(self._source, self._tree, 1, 16 + 8 * rank, self._place):
            size, mask = struct.unpack_from("<II", key)
            start = struct.unpack_from(f"<{rank}Q", key, 8)
            pairs = zip(start, self._chunk, self._shape, strict=True)
            if start in seen or any(s % c or s >= n for s, c, n in pairs):
                self._source.fail(self._place, f"a chunk at {start}, where none can be")
            if size > self._bytes + self._bytes // 100 + 1024:  # what filters may add
                self._source.fail(self._place, f"a chunk of {size} bytes for {self._bytes}")
            self._source.spend(256 + 64 * rank, self._place)
            seen.add(start)
            yield start, address, size, mask

    def _values(self, address: int, size: int, mask: int, out: Array) -> None:
        """Fill `out`, a chunk in C order."""
        self._pipeline.undo(address, size, mask, out.reshape(-1).view(np.uint8))
        native(out, self._swapped, f"{self._source.label}: {self._place}")


def _fills(data: bytes) -> bool:
    """Whether a fill value says that what was never written is other than zeros."""
    start = 6 if data[:1] == b"\3" else 8
    (size,) = struct.unpack_from("<I", data.ljust(8, b"\0"), start - 4)
    return any(data[start : start + size])
