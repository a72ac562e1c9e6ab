"""NumPy's `.npz`: a zip of `.npy` members, stored or deflated.

The `.npy` header is read by a pattern of the one form that NumPy writes, so no expression of the
file is evaluated. Object and structured arrays are refused. Facts: numpy/lib/format.py of NumPy
2.4. Our own entry is a member of bytes called `__batchnorm__`. Types of ml_dtypes are written as
NumPy itself does, as V2 or V1; our entry names them, and without it they are refused.
"""

from __future__ import annotations

import math
import re
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

import ml_dtypes
import numpy as np

from batchnorm.checkpoints.checkpoint import CHUNK, Checkpoint, Entry, Extra, collected
from batchnorm.checkpoints.package_entry import PACKAGE_ENTRY, entry_bytes, parsed_entry
from batchnorm.checkpoints.source import ENTRY_COST, Source, quoted
from batchnorm.checkpoints.storage import Array
from batchnorm.checkpoints.streamed import Streamed
from batchnorm.checkpoints.strided import Layout, Strided, decoded, little_endian
from batchnorm.checkpoints.zip_archive import (
    STORED,
    Member,
    check_crc,
    inflated,
    read_members,
    stored_storage,
)
from batchnorm.checkpoints.zip_writer import ZipWriter
from batchnorm.errors import CheckpointError

__all__ = ["read", "write"]

HEADER = re.compile(
    rb"\{\s*'descr':\s*'([<>|=]?)([a-zA-Z]\d*)',\s*'fortran_order':\s*(True|False),\s*"
    rb"'shape':\s*\(([0-9, ]{0,1000})\),?\s*\}\s*"
)
NAMED: dict[str, np.dtype[Any]] = {
    name: np.dtype(getattr(ml_dtypes, name))
    for name in ("bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz",
                 "float8_e8m0fnu")
}  # fmt: skip
TYPES = "npz_types"  # in our own entry
KINDS = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")


def read(source: Source) -> Checkpoint:
    """The arrays of an npz archive."""
    members = read_members(source)
    total = sum(m.size for m in members.values() if m.method != STORED)
    if total > source.limit:
        source.fail(
            "zip directory",
            f"compressed members would become {total} bytes, more than the {source.limit} that "
            "a file of this size may; save it with numpy.savez, which does not compress",
        )
    own = b""
    if f"{PACKAGE_ENTRY}.npy" in members:
        source.spend(2 * members[f"{PACKAGE_ENTRY}.npy"].size, PACKAGE_ENTRY)
        own = _entry(source, members[f"{PACKAGE_ENTRY}.npy"], {}).load().tobytes()
    metadata, extras = parsed_entry(source, own)
    types = metadata.pop(TYPES, {})
    entries = []
    for name, member in members.items():
        if not name.endswith(".npy"):
            source.fail(f"zip member {quoted(name)}", "is not a .npy array")
        if name != f"{PACKAGE_ENTRY}.npy":
            entries.append(_entry(source, member, types if isinstance(types, dict) else {}))
    return Checkpoint(
        entries=collected(source, entries),
        format="npz",
        metadata=metadata,
        extras=extras,
        path=source.path,
        source=source,
    )


def _entry(source: Source, member: Member, types: Mapping[str, Any]) -> Entry:
    place = f"zip member {quoted(member.name)}"
    source.spend(ENTRY_COST, place)
    name = member.name.removesuffix(".npy")
    header_size, dtype, swapped, fortran, shape = _header(source, member, place)
    if dtype.kind == "V":
        named = NAMED.get(str(types.get(name)))
        if named is None or named.itemsize != dtype.itemsize:
            source.fail(
                place,
                f"type {dtype.str[1:]} is bytes that are not said to be a number; NumPy saves "
                "bfloat16 so: save it as float32",
            )
        dtype, swapped = named, sys.byteorder == "big"
    if header_size + math.prod(shape) * dtype.itemsize != member.size:
        source.fail(place, f"shape {shape} of {dtype} does not fit its {member.size} bytes")
    stored = tuple(reversed(shape)) if fortran else shape
    layout: Layout
    if member.method == STORED:
        storage = stored_storage(source, member)
        layout = Strided.contiguous(storage, dtype, stored, place, header_size, swapped)
    else:

        def pieces(max_bytes: int) -> Iterator[Array]:
            return _inflated_values(source, member, header_size, dtype, swapped)

        layout = Streamed(stored, dtype, pieces, f"{source.label}: {place}")
    if math.prod(shape) == 0:  # no value will be read, and the shape be as wrong as it likes
        check_crc(source, member)
    if fortran and len(shape) > 1:
        layout = layout.rearranged(stored, tuple(reversed(range(len(shape)))))
    return Entry(name, layout)


def _header(
    source: Source, member: Member, place: str
) -> tuple[int, np.dtype[Any], bool, bool, tuple[int, ...]]:
    """Length of the header, type, whether bytes are swapped, Fortran order, shape."""
    start = b""
    for piece in inflated(source, member, 4096):
        start += piece
        if len(start) >= min(4096, member.size):
            break
    if start[:6] != b"\x93NUMPY" or len(start) < 12:
        source.fail(place, "does not begin as a .npy array")
    if start[6] == 1:
        size, begin = struct.unpack_from("<H", start, 8)[0], 10
    elif start[6] == 2:
        size, begin = struct.unpack_from("<I", start, 8)[0], 12
    else:
        source.fail(place, f"version {start[6]} of .npy; 1 and 2 hold arrays of numbers")
    match = HEADER.fullmatch(start[begin : begin + size]) if begin + size <= len(start) else None
    if match is None:
        source.fail(place, "its header is not one that NumPy writes for an array of numbers")
    order, kind, fortran, axes = (group.decode() for group in match.groups())
    if kind not in (*KINDS, "V1", "V2"):
        source.fail(
            place,
            f"type {quoted(kind)} is not a number; objects need pickle, which is never run",
        )
    numbers = [text.strip() for text in axes.split(",") if text.strip()]
    if len(numbers) > 64 or not all(text.isdigit() and len(text) < 20 for text in numbers):
        source.fail(place, "its shape is not one of natural numbers")
    if kind == "b1":
        kind = "?"
    swapped = order == (">" if sys.byteorder == "little" else "<")
    return begin + size, np.dtype(kind), swapped, fortran == "True", tuple(map(int, numbers))


def _inflated_values(
    source: Source, member: Member, skip: int, dtype: np.dtype[Any], swapped: bool
) -> Iterator[Array]:
    """A compressed member's values, in pieces of whole items."""
    rest = b""
    for piece in inflated(source, member):
        dropped = min(skip, len(piece))
        skip -= dropped
        rest += piece[dropped:]
        whole = len(rest) // dtype.itemsize * dtype.itemsize
        if whole:
            where = f"{source.label}: zip member {quoted(member.name)}"
            yield decoded(rest[:whole], dtype, swapped, where)
            rest = rest[whole:]


def write(
    out: IO[bytes],
    entries: Sequence[Entry],
    extras: Mapping[str, Extra],
    metadata: Mapping[str, Any],
) -> None:
    """Write an uncompressed npz archive, every array aligned to 64 bytes."""
    archive = ZipWriter(out)
    for entry in entries:
        if entry.name == PACKAGE_ENTRY:
            raise CheckpointError(f"the name {PACKAGE_ENTRY!r} is the package's own entry's")
        _write_member(archive, entry)
    types = {e.name: e.dtype.name for e in entries if e.dtype.name in NAMED}
    own = entry_bytes({**metadata, TYPES: types} if types else metadata, extras)
    if own:
        _write_member(archive, Entry.of(PACKAGE_ENTRY, np.frombuffer(own, np.uint8)))
    archive.close()


def _write_member(archive: ZipWriter, entry: Entry) -> None:
    size = entry.dtype.itemsize
    kind = "b1" if entry.dtype == np.bool_ else f"{entry.dtype.kind}{size}"
    named = entry.dtype.name in NAMED
    if named:
        kind = f"V{size}"
    elif kind not in KINDS:
        raise CheckpointError(
            f"entry {quoted(entry.name)}: .npz can't name the type {entry.dtype}; write "
            ".safetensors, or convert the entry to float32"
        )
    order = "|" if named or size == 1 else "<"
    shape = ", ".join(map(str, entry.shape)) + ("," if len(entry.shape) == 1 else "")
    text = f"{{'descr': '{order}{kind}', 'fortran_order': False, 'shape': ({shape}), }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    header = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text
    with archive.member(f"{entry.name}.npy", len(header) + entry.nbytes) as sink:
        sink.write(header)
        for piece in entry.chunks(CHUNK):
            sink.write(little_endian(piece))
