"""HDF5 superblock and object headers of both versions: where the messages are, unread.

Facts: HDF5 File Format Specification 3.0, chapters II and IV.A; files of h5py 3.14.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from batchnorm.checkpoints.checksums import lookup3
from batchnorm.checkpoints.source import Cursor, Source

__all__ = ["SIGNATURE", "Message", "messages", "root_address"]

SIGNATURE = b"\x89HDF\r\n\x1a\n"
CONTINUATION = 0x10
LARGEST = 16 << 20  # bytes of a version 2 header that are worth a checksum
DAMAGED = "the file is damaged, fetch or save it again"
SHARED = 2  # flag of a message that is stored elsewhere


class Message(NamedTuple):
    """One message of an object header."""

    kind: int
    data: bytes
    offset: int  # of the data in the file
    flags: int


def root_address(source: Source) -> int:
    """Where the root group's header is."""
    head = source.read(0, min(source.size, 96), "superblock").ljust(96, b"\0")
    version = head[8]
    if head[:8] != SIGNATURE or version > 3:
        source.fail("superblock", "is not one of HDF5 versions 0 to 3")
    if version < 2:
        sizes, at, root_at = head[13:15], 24 + 4 * version, 40
    else:
        sizes, at, root_at = head[9:11], 12, 24
    if sizes != b"\x08\x08":
        source.fail("superblock", "addresses are not of 8 bytes, as h5py writes them")
    if version >= 2 and lookup3(head[:44]) != int.from_bytes(head[44:48], "little"):
        source.fail("superblock", f"its checksum does not fit it; {DAMAGED}")
    base, _, end, _, _ = struct.unpack_from("<QQQQQ", head, at)
    if base != 0 or end > source.size:
        source.fail("superblock", f"the file is cut short: it should have {end} bytes")
    (root,) = struct.unpack_from("<Q", head, at + root_at)
    return int(root)


def messages(source: Source, address: int, place: str) -> Iterator[Message]:
    """The messages of the object at `address`."""
    start = source.read(address, 16, place)
    if start[:4] == b"OHDR" and start[4] == 2:
        flags = start[5]
        at = address + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
        width = 1 << (flags & 3)
        size = int.from_bytes(source.read(at, width, place), "little")
        _check(source, address, at + width + size, place)
        yield from _blocks(source, at + width, size, place, new=True, order=bool(flags & 4))
    elif start[0] == 1:
        (size,) = struct.unpack_from("<I", start, 8)
        yield from _blocks(source, address + 16, size, place, new=False, order=False)
    else:
        source.fail(place, f"no object header at byte {address}")


def _check(source: Source, start: int, end: int, place: str) -> None:
    """See that the checksum at `end` fits the bytes of a header from `start` to there."""
    if end - start > LARGEST:
        source.fail(place, f"a header of {end - start} bytes; Keras writes none that large")
    data = source.read(start, end + 4 - start, place)
    if lookup3(data[:-4]) != int.from_bytes(data[-4:], "little"):
        source.fail(place, f"its header's checksum does not fit it; {DAMAGED}")


def _blocks(
    source: Source, start: int, size: int, place: str, *, new: bool, order: bool
) -> Iterator[Message]:
    blocks, seen = [(start, size)], {start}
    while blocks:
        begin, length = blocks.pop(0)
        source.check_range(begin, length, place)
        cursor = Cursor(source, begin, begin + length)
        head = (6 if order else 4) if new else 8
        while cursor.end - cursor.position >= head:
            raw = cursor.take(head, place)
            if new:
                kind, count, flags = raw[0], int.from_bytes(raw[1:3], "little"), raw[3]
            else:
                kind, count, flags = struct.unpack_from("<HHB", raw)
            source.spend(160 + count, place)  # blocks may overlap: bounds the work, too
            offset = cursor.position
            data = cursor.take(count, place)
            if kind == CONTINUATION:
                if count < 16:
                    source.fail(place, "a continuation without address")
                target, span = struct.unpack_from("<QQ", data)
                if target in seen:
                    source.fail(place, "its header continues in a circle")
                source.spend(256, place)
                seen.add(target)
                if new:  # a signature before, a checksum behind
                    if source.read(target, 4, place) != b"OCHK" or span < 8:
                        source.fail(place, "its header continues where none is")
                    _check(source, target, target + span - 4, place)
                    target, span = target + 4, span - 8
                blocks.append((target, span))
            elif kind:
                if flags & SHARED:
                    source.fail(
                        place, "shares a message with another object, which Keras never does"
                    )
                yield Message(kind, data, offset, flags)
