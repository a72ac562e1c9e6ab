"""HDF5 datatypes, dataspaces and attributes, as far as checkpoints use them.

Numbers, complex ones too, bools, opaque bytes and text; everything else is an error when it is
asked for. Facts: HDF5 File Format Specification 3.0, chapters IV.A.2.b, .d, .m; files of h5py 3.14.
The reader of objects is `hdf5_objects`, the writer `hdf5_writer`.
"""

from __future__ import annotations

import math
import struct
import sys
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from batchnorm.checkpoints.source import Cursor, Source, quoted, text_cost

__all__ = [
    "FLOAT_FORMS",
    "Attribute",
    "GlobalHeap",
    "Kind",
    "complex_form",
    "dataspace",
    "datatype",
]

FIXED, FLOAT, TEXT, OPAQUE, COMPOUND, ENUM, VLEN = 0, 1, 3, 5, 6, 8, 9
NAMES = {2: "time", 4: "bit field", 6: "compound", 7: "reference", 10: "array"}
# (size, exponent at, exponent bits, mantissa bits, bias) -> type
FLOATS: dict[tuple[int, int, int, int, int], np.dtype[Any]] = {
    (2, 10, 5, 10, 15): np.dtype("f2"),
    (4, 23, 8, 23, 127): np.dtype("f4"),
    (8, 52, 11, 52, 1023): np.dtype("f8"),
    (2, 7, 8, 7, 127): np.dtype(ml_dtypes.bfloat16),
}
FLOAT_FORMS = {  # size -> the datatype message that h5py writes for a little-endian float
    2: bytes.fromhex("11200f0002000000 000010000a05000a 0f00000000000000"),
    4: bytes.fromhex("11201f0004000000 0000200017080017 7f00000000000000"),
    8: bytes.fromhex("11203f0008000000 00004000340b0034 ff03000000000000"),
}
BOOL_NAMES = (b"FALSE", b"TRUE")


def complex_form(version: int, half: int) -> bytes:
    """The datatype message of a complex number, as h5py has it: two floats called r and i."""
    form = bytes([version << 4 | 6, 2, 0, 0]) + struct.pack("<I", 2 * half)
    for name, offset in ((b"r", 0), (b"i", half)):
        if version == 3:
            form += name + bytes([0, offset])
        else:  # version 1 has room for the dimensions of an array
            form += name.ljust(8, b"\0") + struct.pack("<I", offset) + bytes(28 * (version == 1))
        form += FLOAT_FORMS[half][:20]
    return form


COMPLEX = {complex_form(v, n): np.dtype(f"c{2 * n}") for v in (1, 2, 3) for n in (4, 8)}


@dataclass(frozen=True)
class Kind:
    """A datatype: `dtype` for numbers, `text` for the two kinds of text."""

    size: int  # bytes of one element in the file
    dtype: np.dtype[Any] | None = None
    swapped: bool = False
    text: str = ""  # "fixed" or "vlen"


def datatype(source: Source, data: bytes, place: str) -> Kind:
    """The type that a datatype message describes."""
    if len(data) < 8:
        source.fail(place, "a datatype that is cut short")
    kind, size = data[0] & 15, struct.unpack_from("<I", data, 4)[0]
    bits = int.from_bytes(data[1:4], "little")
    swapped = (bits & 1) != (sys.byteorder == "big")
    if kind == FIXED and len(data) >= 12:
        offset, precision = struct.unpack_from("<HH", data, 8)
        if size in (1, 2, 4, 8) and (offset, precision) == (0, 8 * size):
            return Kind(size, np.dtype(f"{'i' if bits & 8 else 'u'}{size}"), swapped)
    elif kind == FLOAT and len(data) >= 20:
        offset, precision, e_at, e_bits, m_at, m_bits, bias = struct.unpack_from(
            "<HHBBBBI", data, 8
        )
        dtype = FLOATS.get((size, e_at, e_bits, m_bits, bias))
        if dtype is not None and (offset, precision, m_at) == (0, 8 * size, 0):
            return Kind(size, dtype, swapped)
    elif kind == COMPOUND:
        dtype = next((t for form, t in COMPLEX.items() if data.startswith(form)), None)
        if dtype is not None:
            return Kind(size, dtype, sys.byteorder == "big")
    elif kind == OPAQUE and 0 < size <= 8:
        return Kind(size, np.dtype(f"V{size}"))
    elif kind == TEXT and size:
        return Kind(size, text="fixed")
    elif kind == VLEN and bits & 15 == 1 and size == 16:
        return Kind(size, text="vlen")
    elif kind == ENUM and bits & 0xFFFF == 2 and size == 1:
        base = datatype(source, data[8:], place)
        if base.dtype == np.int8 and _is_bool(data[0] >> 4, data[20:]):
            return Kind(1, np.dtype("?"))
    what = NAMES.get(kind, f"class {kind}")
    return source.fail(place, f"datatype {what} of {size} bytes is not a number or text")


def _is_bool(version: int, members: bytes) -> bool:
    step = 1 if version >= 3 else 8  # names are padded in versions 1 and 2
    at = 0
    for name in BOOL_NAMES:
        width = -(-(len(name) + 1) // step) * step
        if members[at : at + width] != name.ljust(width, b"\0"):
            return False
        at += width
    return members[at : at + 2] == b"\0\1"


def dataspace(source: Source, data: bytes, place: str) -> tuple[int, ...]:
    """The shape that a dataspace message describes."""
    if len(data) < 4 or data[0] not in (1, 2):
        source.fail(place, "a dataspace of unknown version")
    rank, at = data[1], 8 if data[0] == 1 else 4
    if data[0] == 2 and data[3] == 2:
        return (0,)  # a null dataspace
    if rank > 32 or len(data) < at + 8 * rank:
        source.fail(place, f"a dataspace of {rank} dimensions")
    shape = struct.unpack_from(f"<{rank}Q", data, at)
    if any(n >= 1 << 62 for n in shape):
        source.fail(place, "a dimension without bound")
    return shape


class GlobalHeap:
    """The collections in which texts of variable length lie; each is listed once."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._collections: dict[int, dict[int, tuple[int, int]]] = {}

    def text(self, reference: bytes, place: str) -> bytes:
        """The text that (length, collection, index) refers to."""
        length, address, index = struct.unpack("<IQI", reference)
        if length == 0:
            return b""
        if address not in self._collections:
            self._collections[address] = self._listed(address, place)
        at, size = self._collections[address].get(index, (0, -1))
        if length > size:
            self.source.fail(place, "its text is missing from the heap")
        self.source.spend(2 * length, place)
        return self.source.read(at, length, place)

    def _listed(self, address: int, place: str) -> dict[int, tuple[int, int]]:
        """Where the collection's objects are: index -> (offset, length)."""
        source = self.source
        head = source.read(address, 16, place)
        (size,) = struct.unpack_from("<Q", head, 8)
        if head[:5] != b"GCOL\1":
            source.fail(place, "its text is not where it says")
        source.check_range(address, size, place)
        found: dict[int, tuple[int, int]] = {}
        cursor = Cursor(source, address + 16, address + size)
        while cursor.end - cursor.position >= 16:
            index, length = struct.unpack("<H6xQ", cursor.take(16, place))
            if index == 0:  # the free space at the end
                break
            if length > cursor.end - cursor.position:
                source.fail(place, "a text passes the end of its heap")
            source.spend(200, place)
            found[index] = (cursor.position, length)
            cursor.position += -(-length // 8) * 8
        return found


class Attribute:
    """A named value on a group or dataset; decoded when asked for."""

    def __init__(self, heap: GlobalHeap, data: bytes, place: str) -> None:
        source = heap.source
        if len(data) < 8 or data[0] not in (1, 2, 3):
            source.fail(place, "an attribute of unknown version")
        version, flags = data[0], data[1]
        name_size, type_size, space_size = struct.unpack_from("<HHH", data, 2)
        begin = 9 if version == 3 else 8
        step = 8 if version == 1 else 1
        positions = [begin]
        for size in (name_size, type_size, space_size):
            positions.append(positions[-1] + -(-size // step) * step)
        if positions[-1] > len(data):
            source.fail(place, "an attribute that is cut short")
        raw = data[begin : begin + name_size].split(b"\0")[0]
        self.name = raw.decode("utf-8", "backslashreplace")
        self._shared = version > 1 and bool(flags & 3)
        self._heap = heap
        self._source, self._place = source, f"{place}, attribute {quoted(self.name)}"
        self._type = data[positions[1] : positions[1] + type_size]
        self._space = data[positions[2] : positions[2] + space_size]
        self._data = data[positions[3] :]

    def texts(self) -> list[str]:
        """The attribute's texts; one for a scalar. An empty list of any type is empty."""
        kind, count = self._shape()
        if count == 0:
            return []
        if not kind.text:
            self._source.fail(self._place, "is not text")
        self._source.spend(64 * count, self._place)
        pieces = [self._data[i * kind.size : (i + 1) * kind.size] for i in range(count)]
        if kind.text == "vlen":
            pieces = [self._heap.text(piece, self._place) for piece in pieces]
        self._source.spend(sum(map(text_cost, pieces)), self._place)
        try:
            return [piece.rstrip(b"\0").decode("utf-8") for piece in pieces]
        except UnicodeDecodeError:
            return self._source.fail(self._place, "is not UTF-8")

    def text(self) -> str:
        """The attribute's only text."""
        texts = self.texts()
        if len(texts) != 1:
            self._source.fail(self._place, f"holds {len(texts)} texts, not one")
        return texts[0]

    def _shape(self) -> tuple[Kind, int]:
        if self._shared:
            self._source.fail(self._place, "its type is stored elsewhere, which Keras never does")
        shape = dataspace(self._source, self._space, self._place)
        count = math.prod(shape)
        if count == 0:
            return Kind(1), 0
        kind = datatype(self._source, self._type, self._place)
        if count * kind.size > len(self._data):
            self._source.fail(self._place, "its value is cut short")
        return kind, count
