"""Zip archives as the checkpoint formats use them, read: members as byte ranges.

The central directory is read here and not by `zipfile`, because every member is checked against
the others and the file before anything is allocated: names once, no overlap, no encryption, sizes
that add up. It does not know what the members mean; `zip_writer` writes. Facts: PKWARE APPNOTE
6.3.10.
"""

from __future__ import annotations

import struct
import weakref
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from batchnorm.checkpoints.source import Source, checked_name, quoted, text_cost
from batchnorm.checkpoints.storage import FileStorage

__all__ = ["STORED", "Member", "check_crc", "inflated", "read_members", "stored_storage"]

STORED = 0  # methods
DEFLATED = 8
LISTED: weakref.WeakKeyDictionary[Source, dict[str, Member]] = weakref.WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive: where its bytes are and what they become."""

    name: str
    method: int
    offset: int  # of the data, not of the header
    packed: int  # bytes in the archive
    size: int  # bytes after decompression
    crc32: int


def read_members(source: Source) -> dict[str, Member]:
    """The archive's members by name, in the order of its directory; listed once per source."""
    if source not in LISTED:
        LISTED[source] = _listed(source)
    return LISTED[source]


def _listed(source: Source) -> dict[str, Member]:
    count, start, length = _end_record(source)
    if count * 46 > length:
        source.fail("zip directory", f"{count} members can't be listed in {length} bytes")
    source.spend(count * 512 + length, "zip directory")
    table = source.read(start, length, "zip directory")
    members: dict[str, Member] = {}
    position = 0
    for _ in range(count):
        member, position = _member(source, table, position, start)
        if member.name in members:
            source.fail(f"zip member {quoted(member.name)}", "the name occurs twice")
        members[member.name] = member
    end = 0
    for member in sorted(members.values(), key=lambda m: m.offset):
        if member.offset < end:
            source.fail(f"zip member {quoted(member.name)}", "its data overlap another member's")
        end = member.offset + member.packed
    return members


def _end_record(source: Source) -> tuple[int, int, int]:
    """Number of members, offset and length of the central directory."""
    tail_size = min(source.size, 22 + 0xFFFF)
    tail = source.read(source.size - tail_size, tail_size, "zip end record")
    found, comment = tail.rfind(b"PK\5\6"), -1
    while found >= 0:  # its comment is any text, also one that begins as a record does
        comment = int.from_bytes(tail[found + 20 : found + 22], "little")
        if len(tail) - found >= 22 and found + 22 + comment == len(tail):
            break
        found = tail.rfind(b"PK\5\6", 0, found)
    if found < 0 and comment < 0:
        source.fail("zip end record", "none found; the file is cut short, fetch or save it again")
    if found < 0:
        source.fail("zip end record", "bytes follow the archive's end, or it is cut short")
    disk, _, here, count, length, start = struct.unpack_from("<HHHHII", tail, found + 4)
    if disk or here != count:
        source.fail("zip end record", "the archive is split over several files; join them first")
    end = source.size - tail_size + found
    if end >= 20 and source.read(end - 20, 4, "zip64 locator") == b"PK\6\7":
        (at,) = struct.unpack("<Q", source.read(end - 12, 8, "zip64 locator"))
        record = source.read(at, 56, "zip64 end record")
        if record[:4] != b"PK\6\6":
            source.fail("zip64 end record", "is not where its locator says")
        count, length, start = struct.unpack_from("<QQQ", record, 32)
        end = at
    if start + length != end:
        source.fail("zip end record", "the directory is not where it says")
    return count, start, length


def _member(source: Source, table: bytes, at: int, directory: int) -> tuple[Member, int]:
    place = "zip directory"
    if table[at : at + 4] != b"PK\1\2" or at + 46 > len(table):
        source.fail(place, "an entry does not begin as one")
    flags, method = struct.unpack_from("<HH", table, at + 8)
    crc32, packed, size, name_size, extra_size, comment_size = struct.unpack_from(
        "<IIIHHH", table, at + 16
    )
    (header,) = struct.unpack_from("<I", table, at + 42)
    extra_at = at + 46 + name_size
    end = extra_at + extra_size + comment_size
    if end > len(table):
        source.fail(place, "an entry is cut short")
    raw = table[at + 46 : extra_at]
    source.spend(text_cost(raw), place)
    try:
        name = checked_name(source, raw.decode("utf-8" if flags & 0x800 else "cp437"))
    except UnicodeDecodeError:
        source.fail(place, "a member's name is not UTF-8")
    place = f"zip member {quoted(name)}"
    size, packed, header = _zip64(
        source, table[extra_at : extra_at + extra_size], (size, packed, header), place
    )
    if flags & 0x1:
        source.fail(place, "is encrypted; decrypt the archive first")
    if method not in (STORED, DEFLATED):
        source.fail(place, f"compression method {method}; only stored and deflated can be read")
    if method == STORED and packed != size:
        source.fail(place, f"stored, but {packed} bytes should become {size}")
    local = source.read(header, 30, place)
    local_method, local_name, local_extra = struct.unpack_from("<8xH16xHH", local)
    if local[:4] != b"PK\3\4" or local_method != method:
        source.fail(place, "its local header is missing or disagrees with the directory")
    if source.read(header + 30, local_name, place) != raw:
        source.fail(place, "has another name in its local header")
    offset = header + 30 + local_name + local_extra
    if offset + packed > directory:
        source.fail(place, "its data reach into the directory; the file is damaged")
    return Member(name, method, offset, packed, size, crc32), end


def _zip64(
    source: Source, extra: bytes, sizes: tuple[int, int, int], place: str
) -> tuple[int, int, int]:
    """Sizes that did not fit into 32 bits stand in an extra field, in this order."""
    if 0xFFFFFFFF not in sizes:
        return sizes
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        field = extra[at + 4 : at + 4 + length]
        at += 4 + length
        if kind == 1:
            wide = iter(v for (v,) in struct.iter_unpack("<Q", field[: len(field) // 8 * 8]))
            size, packed, header = (
                next(wide, value) if value == 0xFFFFFFFF else value for value in sizes
            )
            return size, packed, header
    return source.fail(place, "its zip64 sizes are missing")


def stored_storage(source: Source, member: Member, *, zero_is_none: bool = False) -> FileStorage:
    """A stored member's bytes, whose CRC is checked when they are first read.

    With `zero_is_none` a CRC of 0 is none: torch can be told not to compute it.
    """
    place = f"zip member {quoted(member.name)}"
    if member.method != STORED:
        source.fail(place, "is compressed; unpack the archive and pack it again with `zip -0`")
    crc = None if zero_is_none and not member.crc32 else member.crc32
    if not member.size and member.crc32:
        source.fail(place, f"is empty and has CRC {member.crc32:08x}; the file is damaged")
    return FileStorage(source, [(member.offset, member.size)], place, crc)


def inflated(source: Source, member: Member, step: int = 1 << 16) -> Iterator[bytes]:
    """A member's bytes piece by piece, its size and CRC checked at the end."""
    place = f"zip member {quoted(member.name)}"
    inflater = zlib.decompressobj(-15) if member.method == DEFLATED else None
    position, end, produced, crc = member.offset, member.offset + member.packed, 0, 0
    pending = b""
    while True:
        if not pending and position < end:
            pending = source.read(position, min(step, end - position), place)
            position += len(pending)
        try:
            piece = inflater.decompress(pending, step) if inflater else pending
        except zlib.error as error:
            source.fail(place, f"can't be decompressed ({error}); the file is damaged")
        pending = inflater.unconsumed_tail if inflater else b""
        if not piece and not pending and position == end:
            break
        produced += len(piece)
        if produced > member.size or (inflater and inflater.unused_data):
            source.fail(place, f"holds more than the {member.size} bytes it announces")
        crc = zlib.crc32(piece, crc)
        if piece:
            yield piece
    if produced != member.size:
        source.fail(place, f"holds {produced} of the {member.size} bytes it announces")
    if crc != member.crc32:
        source.fail(place, f"the data have CRC {crc:08x}, the file says {member.crc32:08x}")


def check_crc(source: Source, member: Member, *, zero_is_none: bool = False) -> None:
    """Read a member to its end, so that its CRC is checked now."""
    if not (zero_is_none and not member.crc32):
        for _ in inflated(source, member):
            pass
