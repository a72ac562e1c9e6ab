"""MindSpore's `.ckpt`: protobuf messages one after the other, no header; a CRC at the end if asked.

Schema: Checkpoint{1: Value*}, Value{1: tag, 2: tensor, 3: map tensor}, tensor{1: dims, 2: type,
3: content}. Tensors above 512 MiB come as consecutive values of one tag. Facts: MindSpore
2.10 `train/serialization.py` and its files (tests/data/checkpoints). MindSpore itself takes wrong
lengths and then corrupts its heap, so lengths are exact here, in reading and writing.

Our own entry is field 1000 of a Checkpoint message: MindSpore's protobuf keeps unknown fields and
shows them to nobody, where a tag of type `str` would be left over in `load_param_into_net`. Field
1001 holds values that MindSpore misreads: empty vectors, which it takes for numbers.
"""

from __future__ import annotations

import math
import sys
import zlib
from collections.abc import Mapping, Sequence
from typing import IO, Any

import ml_dtypes
import numpy as np

from batchnorm.checkpoints.checkpoint import CHUNK, Checkpoint, Entry, Extra, collected
from batchnorm.checkpoints.package_entry import entry_bytes, parsed_entry
from batchnorm.checkpoints.protobuf import fields, length_delimited, read_varint, varint
from batchnorm.checkpoints.source import (
    ENTRY_COST,
    LONGEST_NAME,
    Cursor,
    Source,
    checked_name,
    name_fault,
    quoted,
    text_cost,
)
from batchnorm.checkpoints.storage import FileStorage
from batchnorm.checkpoints.strided import Strided, little_endian
from batchnorm.errors import CheckpointError

__all__ = ["ENCRYPTED", "read", "write"]

DTYPES: dict[str, np.dtype[Any]] = {
    "Float32": np.dtype("f4"), "Float64": np.dtype("f8"), "Float16": np.dtype("f2"),
    "BFloat16": np.dtype(ml_dtypes.bfloat16), "Int64": np.dtype("i8"), "Int32": np.dtype("i4"),
    "Int16": np.dtype("i2"), "Int8": np.dtype("i1"), "UInt64": np.dtype("u8"),
    "UInt32": np.dtype("u4"), "UInt16": np.dtype("u2"), "UInt8": np.dtype("u1"),
    "Bool": np.dtype("?"),
}  # fmt: skip
ONLY_READ: dict[str, np.dtype[Any]] = {  # which MindSpore 2.10 writes and then can't load
    "Complex64": np.dtype("c8"), "Complex128": np.dtype("c16"),
    "Float8E4M3FN": np.dtype(ml_dtypes.float8_e4m3fn),
    "Float8E5M2": np.dtype(ml_dtypes.float8_e5m2),
}  # fmt: skip
ENCRYPTED = tuple(bytes([first]) + b"\x5e\x3a\x7f" for first in (0xD8, 0xD9, 0xDA))
SLICE = 512 << 20  # bytes of one value; MindSpore cuts there, and one message must stay below 2 GiB
CRC_TAG = b"crc_num"
OWN_FIELD, HIDDEN_FIELD = 1000, 1001


class _Tensor:
    """One tag while its slices are collected."""

    def __init__(self, tag: str, dims: tuple[int, ...], kind: str) -> None:
        self.tag, self.dims, self.kind = tag, dims, kind
        self.extents: list[tuple[int, int]] = []


def read(source: Source) -> Checkpoint:
    """The arrays of a MindSpore checkpoint; a CRC that is present is verified."""
    end = _verified_end(source)
    cursor = Cursor(source, 0, end)
    tensors: list[_Tensor] = []
    own = b""
    for field in fields(cursor, end, "checkpoint"):
        if field.number in (1, HIDDEN_FIELD):
            _add_value(source, Cursor(source, field.start, field.end), tensors)
        elif field.number == OWN_FIELD:
            own = source.read(field.start, field.end - field.start, "our own entry")
    entries: list[Entry] = []
    texts: dict[str, Extra] = {}
    for tensor in tensors:
        if tensor.kind == "str":
            texts[tensor.tag] = _text(source, tensor)
        else:
            entries.append(_entry(source, tensor))
    metadata, extras = parsed_entry(source, own)
    if end != source.size:
        metadata["mindspore"] = {"crc": True}
    if not entries:
        source.fail("checkpoint", "holds no parameters")
    return Checkpoint(
        entries=collected(source, entries),
        format="mindspore",
        framework="mindspore",
        metadata=metadata,
        extras={**extras, **texts},
        path=source.path,
        source=source,
    )


def _verified_end(source: Source) -> int:
    """Where the messages end: before the CRC, if there is one."""
    if source.size < 17 or source.read(source.size - 17, 7, "CRC") != CRC_TAG:
        return source.size
    expected = int.from_bytes(source.read(source.size - 10, 10, "CRC"), "big")
    end, crc = source.size - 17, 0
    for start in range(0, end, 1 << 20):
        crc = zlib.crc32(source.read(start, min(1 << 20, end - start), "CRC"), crc)
    if crc != expected:
        source.fail(
            "CRC", f"the data have {crc:08x}, the file says {expected:x}; fetch or save it again"
        )
    return end


def _add_value(source: Source, cursor: Cursor, tensors: list[_Tensor]) -> None:
    source.spend(ENTRY_COST, "checkpoint")
    at = cursor.position
    tag: str | None = None
    body: tuple[int, int] | None = None
    for field in fields(cursor, cursor.end, "value"):
        if field.number == 1 and tag is None:
            if field.end - field.start > 4 * LONGEST_NAME:  # before a text is made of it
                source.fail(f"value at byte {at}", "a tag that is too long for a name")
            raw = source.read(field.start, field.end - field.start, "tag")
            source.spend(text_cost(raw), "checkpoint")
            try:
                tag = checked_name(source, raw.decode())
            except UnicodeDecodeError:
                source.fail(f"value at byte {at}", "its tag is not UTF-8")
        elif field.number == 2 and body is None:
            body = (field.start, field.end)
        elif field.number == 3:
            source.fail(
                f"value {quoted(tag)}", "is a MapParameter; only tensors can be carried over"
            )
        elif field.number in (1, 2):
            source.fail(f"value {quoted(tag)}", "has a tag or tensor twice; the file is damaged")
    if tag is None or body is None:
        source.fail(f"value at byte {at}", "has no tag or no tensor; the file is damaged")
    dims, kind, content = _tensor(source, tag, Cursor(source, *body))
    last = tensors[-1] if tensors else None
    if last is None or last.tag != tag:
        tensors.append(_Tensor(tag, dims, kind))
    elif (last.dims, last.kind) != (dims, kind):
        source.fail(f"value {quoted(tag)}", "its slices disagree about shape or type")
    tensors[-1].extents.append(content)


def _tensor(
    source: Source, tag: str, cursor: Cursor
) -> tuple[tuple[int, ...], str, tuple[int, int]]:
    place = f"value {quoted(tag)}"
    dims: list[int] = []
    kind, content = "", None
    for field in fields(cursor, cursor.end, place):
        if field.number == 1 and field.value is not None:
            dims.append(field.value)
        elif field.number == 1:  # packed, which MindSpore does not write and protobuf allows
            packed = Cursor(source, field.start, field.end)
            while packed.position < packed.end and len(dims) < 65:
                dims.append(read_varint(packed, place))
        elif field.number == 2:
            kind = source.read(field.start, min(field.end - field.start, 64), place).decode(
                "ascii", "replace"
            )
        elif field.number == 3 and content is None:
            content = (field.start, field.end - field.start)
        elif field.number == 3:
            source.fail(place, "has two contents; the file is damaged")
        if len(dims) > 64:
            source.fail(place, "has more than 64 dimensions")
    if any(d >= 1 << 62 for d in dims):
        source.fail(place, "has a negative dimension")
    if content is None:
        source.fail(place, "has no content; the file is damaged")
    return tuple(dims), kind, content


def _entry(source: Source, tensor: _Tensor) -> Entry:
    place = f"entry {quoted(tensor.tag)}"
    dtype = DTYPES.get(tensor.kind, ONLY_READ.get(tensor.kind))
    if dtype is None:
        advice = "; save it dequantised" if tensor.kind == "Int4" else ""
        source.fail(place, f"type {quoted(tensor.kind)} has no NumPy counterpart{advice}")
    storage = FileStorage(source, tensor.extents, place)
    dims = tensor.dims
    if dims == (0,) and storage.size == dtype.itemsize:
        dims = ()  # as MindSpore reads it
    if math.prod(dims) * dtype.itemsize != storage.size:
        source.fail(
            place,
            f"shape {dims} of {tensor.kind} takes {math.prod(dims) * dtype.itemsize} bytes and "
            f"{storage.size} are there; the file is damaged",
        )
    swapped = sys.byteorder == "big"
    return Entry(tensor.tag, Strided.contiguous(storage, dtype, dims, place, swapped=swapped))


def _text(source: Source, tensor: _Tensor) -> str:
    place = f"value {quoted(tensor.tag)}"
    storage = FileStorage(source, tensor.extents, place)
    source.spend(3 * storage.size, place)
    buffer = bytearray(storage.size)
    storage.readinto(0, memoryview(buffer))
    try:
        return buffer.decode("utf-32-le").rstrip("\0")
    except UnicodeDecodeError:
        return source.fail(place, "a text that is not UTF-32")


class _Checked:
    """Counts the CRC of what is written."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out, self.crc = out, 0

    def write(self, data: bytes | memoryview) -> None:
        self.crc = zlib.crc32(data, self.crc)
        self._out.write(data)


def write(
    out: IO[bytes],
    entries: Sequence[Entry],
    extras: Mapping[str, Extra],
    metadata: Mapping[str, Any],
    crc: bool = False,
) -> None:
    """Write a checkpoint; texts among the extras become what `append_dict` makes of them.

    Numbers of `append_dict` are entries of shape (). `crc` adds the CRC at the end.
    """
    sink = _Checked(out)
    for entry in entries:
        _write_entry(sink, entry)
    other: dict[str, Extra] = {}
    names = {entry.name for entry in entries}
    for name, value in extras.items():
        is_tag = name not in names and not name_fault(name)
        if isinstance(value, str) and value and is_tag:  # an empty text fails in load_checkpoint
            content = value.encode("utf-32-le")
            sink.write(_head(name, (0,), "str", len(content)) + content)
        else:
            other[name] = value
    own = entry_bytes({k: v for k, v in metadata.items() if k != "mindspore"}, other)
    if own:
        sink.write(length_delimited(OWN_FIELD, len(own)) + own)
    if crc:
        out.write(CRC_TAG + sink.crc.to_bytes(10, "big"))


def _write_entry(sink: _Checked, entry: Entry) -> None:
    kind = next((n for n, t in DTYPES.items() if t == entry.dtype), None)
    place = f"entry {quoted(entry.name)}"
    if kind is None:
        raise CheckpointError(f"{place}: .ckpt has no type {entry.dtype}; convert it first")
    if not entry.name:
        raise CheckpointError("an entry of a .ckpt needs a name")
    left, room = entry.nbytes, 0
    for piece in entry.chunks(CHUNK):
        data = little_endian(piece)
        while len(data):
            if room == 0:
                room = min(left, SLICE)
                sink.write(_head(entry.name, entry.shape, kind, room))
            part = data[:room]
            sink.write(part)
            data, room, left = data[len(part) :], room - len(part), left - len(part)
    if not entry.nbytes:
        number = HIDDEN_FIELD if entry.shape == (0,) else 1
        sink.write(_head(entry.name, entry.shape, kind, 0, number))


def _head(name: str, dims: tuple[int, ...], kind: str, length: int, number: int = 1) -> bytes:
    """Everything of a value but its content, which comes last in each message around it."""
    text = name.encode()
    inner = b"".join(b"\x08" + varint(d) for d in dims)
    inner += length_delimited(2, len(kind)) + kind.encode() + length_delimited(3, length)
    tag = length_delimited(1, len(text)) + text
    tensor = length_delimited(2, len(inner) + length) + inner
    return length_delimited(number, len(tag) + len(tensor) + length) + tag + tensor
