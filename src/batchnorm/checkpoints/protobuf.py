"""The protobuf wire format, as far as a checkpoint needs it: fields of a message, one by one.

Reads from a `Cursor` without recursion and without loading contents. It knows no schema. Facts: the
encoding page of protobuf.dev; what MindSpore 2.10's runtime accepts (tests/data/checkpoints).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from batchnorm.checkpoints.source import Cursor

__all__ = ["Field", "fields", "length_delimited", "read_varint", "varint"]

VARINT, FIXED64, DELIMITED, FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True)
class Field:
    """One field of a message: its number and either a value or the range of its bytes."""

    number: int
    value: int | None  # of a varint
    start: int  # of the bytes of a length-delimited field, or of a number of fixed size
    end: int


def fields(cursor: Cursor, end: int, place: str) -> Iterator[Field]:
    """The fields up to `end`; the bytes of a field are passed over, not read."""
    source = cursor.source
    while cursor.position < end:
        key = read_varint(cursor, place)
        number, kind = key >> 3, key & 7
        value, start, stop = None, 0, 0
        if kind == VARINT:
            value = read_varint(cursor, place)
        elif kind in (FIXED64, FIXED32):
            start = cursor.position
            cursor.take(8 if kind == FIXED64 else 4, place)
            stop = cursor.position
        elif kind == DELIMITED:
            length = read_varint(cursor, place)
            start, stop = cursor.position, cursor.position + length
            if stop > end:
                source.fail(f"{place} at byte {start}", f"a field of {length} bytes passes its end")
            cursor.position = stop
        else:
            source.fail(f"{place} at byte {cursor.position}", f"wire type {kind} is not in use")
        if number == 0 or number >= 1 << 29:
            source.fail(f"{place} at byte {cursor.position}", f"field number {number}")
        yield Field(number, value, start, stop)
    if cursor.position != end:
        source.fail(f"{place} at byte {end}", "a field passes the end of its message")


def read_varint(cursor: Cursor, place: str) -> int:
    """The number at the cursor, of at most 64 bits."""
    result = 0
    for shift in range(0, 70, 7):
        byte = cursor.take(1, place)[0]
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & 0xFFFFFFFFFFFFFFFF
    return cursor.source.fail(f"{place} at byte {cursor.position}", "a number of over ten bytes")


def varint(value: int) -> bytes:
    """A natural number as a varint."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def length_delimited(number: int, length: int) -> bytes:
    """The beginning of a field of `length` bytes."""
    return varint(number << 3 | DELIMITED) + varint(length)
