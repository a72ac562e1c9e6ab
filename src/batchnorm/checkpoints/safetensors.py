"""safetensors: eight bytes of length, a JSON header, then the arrays without gaps.

Own reader and writer: the library (0.8.0) accepts a header that names one tensor twice, and loads
whole tensors. Stricter than it, too, about holes and bytes after the data. Facts: the format's
README in huggingface/safetensors; files of safetensors 0.8.0 and MindSpore 2.10
(tests/data/checkpoints).
"""

from __future__ import annotations

import json
import math
import struct
import sys
from collections.abc import Mapping, Sequence
from typing import IO, Any

import ml_dtypes
import numpy as np

from batchnorm.checkpoints.bounded_json import parsed_json
from batchnorm.checkpoints.checkpoint import CHUNK, Checkpoint, Entry, Extra, collected
from batchnorm.checkpoints.package_entry import PACKAGE_ENTRY, entry_bytes, parsed_entry
from batchnorm.checkpoints.source import ENTRY_COST, Source, checked_name, quoted
from batchnorm.checkpoints.storage import FileStorage
from batchnorm.checkpoints.strided import Strided, little_endian
from batchnorm.errors import CheckpointError

__all__ = ["FRAMEWORKS", "read", "write"]

DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("f8"), "F32": np.dtype("f4"), "F16": np.dtype("f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16), "I64": np.dtype("i8"), "I32": np.dtype("i4"),
    "I16": np.dtype("i2"), "I8": np.dtype("i1"), "U64": np.dtype("u8"), "U32": np.dtype("u4"),
    "U16": np.dtype("u2"), "U8": np.dtype("u1"), "BOOL": np.dtype("?"), "C64": np.dtype("c8"),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn), "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "F8_E4M3FNUZ": np.dtype(ml_dtypes.float8_e4m3fnuz),
    "F8_E5M2FNUZ": np.dtype(ml_dtypes.float8_e5m2fnuz),
    "F8_E8M0": np.dtype(ml_dtypes.float8_e8m0fnu),
}  # fmt: skip
FRAMEWORKS = {"torch": "pt", "mindspore": "ms"}
LARGEST_HEADER = 100_000_000  # the library's own limit


def read(source: Source) -> Checkpoint:
    """The arrays of a safetensors file."""
    place = "safetensors header"
    (length,) = struct.unpack("<Q", source.read(0, 8, place))
    if length > LARGEST_HEADER:
        source.fail(place, f"announces {length} bytes; {LARGEST_HEADER} are the format's limit")
    text = source.read(8, length, place)
    if text[:1] != b"{":
        source.fail(place, "does not begin with '{'")
    header = parsed_json(source, text, place)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        source.fail("__metadata__", "is not an object of texts")
    begin, end = 8 + length, 0
    spans: list[tuple[int, int, str]] = []
    entries: list[Entry] = []
    for name, facts in header.items():
        dtype, shape, start, stop = _facts(source, name, facts)
        place = f"entry {quoted(name)}"
        if metadata.get(name) == "Int4":
            source.fail(place, "is a 4-bit quantised MindSpore tensor; save it dequantised")
        spans.append((start, stop, name))
        storage = FileStorage(source, [(begin + start, stop - start)], place)
        swapped = sys.byteorder == "big"
        layout = Strided.contiguous(storage, dtype, shape, place, swapped=swapped)
        entries.append(Entry(checked_name(source, name), layout))
    for start, stop, name in sorted(spans):
        if start != end:
            what = "overlap those before" if start < end else "leave a hole before them"
            source.fail(f"entry {quoted(name)}", f"its data {what}; the file is damaged")
        end = stop
    if begin + end != source.size:
        source.fail("end of file", f"{source.size - begin - end} bytes follow the last array")
    text = metadata.pop(PACKAGE_ENTRY, "")
    source.spend(4 * len(text), PACKAGE_ENTRY)
    raw_own = text.encode()
    own, extras = parsed_entry(source, raw_own)
    kind = metadata.get("format")
    if metadata:
        own["safetensors"] = metadata
    return Checkpoint(
        entries=collected(source, entries),
        format="safetensors",
        framework=next((n for n, code in FRAMEWORKS.items() if code == kind), None),
        metadata=own,
        extras=extras,
        path=source.path,
        source=source,
    )


def _facts(
    source: Source, name: str, facts: Any
) -> tuple[np.dtype[Any], tuple[int, ...], int, int]:
    place = f"entry {quoted(name)}"
    source.spend(ENTRY_COST, place)
    if not isinstance(facts, dict) or set(facts) != {"dtype", "shape", "data_offsets"}:
        source.fail(place, "has not exactly dtype, shape and data_offsets")
    code, shape, offsets = facts["dtype"], facts["shape"], facts["data_offsets"]
    if not isinstance(code, str) or code not in DTYPES:
        source.fail(place, f"type {quoted(code)} has no NumPy counterpart")
    numbers = [shape, offsets]
    if not all(
        isinstance(n, list) and all(type(v) is int and 0 <= v < 1 << 62 for v in n) for n in numbers
    ):
        source.fail(place, "shape and data_offsets are not lists of natural numbers below 2^62")
    if len(offsets) != 2 or len(shape) > 64:
        source.fail(place, f"{len(shape)} dimensions and {len(offsets)} offsets")
    size = math.prod(shape) * DTYPES[code].itemsize
    if offsets[1] - offsets[0] != size:
        source.fail(
            place, f"shape {shape} of {code} takes {size} bytes, not {offsets[1] - offsets[0]}"
        )
    return DTYPES[code], tuple(shape), offsets[0], offsets[1]


def write(
    out: IO[bytes],
    entries: Sequence[Entry],
    extras: Mapping[str, Extra],
    metadata: Mapping[str, Any],
    framework: str | None = None,
) -> None:
    """Write a safetensors file; `framework` decides the `format` entry, which loaders look at."""
    codes = {dtype: code for code, dtype in DTYPES.items()}
    # Wider types first, so that every array is aligned; the header keeps the entries' order.
    order = sorted(range(len(entries)), key=lambda i: -entries[i].dtype.itemsize)
    starts, position = [0] * len(entries), 0
    for index in order:
        starts[index] = position
        position += entries[index].nbytes
    header: dict[str, Any] = {"__metadata__": _metadata(entries, extras, metadata, framework)}
    if not header["__metadata__"]:
        del header["__metadata__"]
    for entry, start in zip(entries, starts, strict=True):
        if entry.dtype not in codes:
            raise CheckpointError(
                f"entry {quoted(entry.name)}: safetensors has no type {entry.dtype}; convert it"
            )
        if entry.name == "__metadata__":
            raise CheckpointError("an entry can't be called '__metadata__' in safetensors")
        header[entry.name] = {
            "dtype": codes[entry.dtype],
            "shape": list(entry.shape),
            "data_offsets": [start, start + entry.nbytes],
        }
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > LARGEST_HEADER:
        raise CheckpointError(f"the header takes {len(text)} bytes, more than the format allows")
    out.write(struct.pack("<Q", len(text)) + text)
    for index in order:
        for piece in entries[index].chunks(CHUNK):
            out.write(little_endian(piece))


def _metadata(
    entries: Sequence[Entry],
    extras: Mapping[str, Extra],
    metadata: Mapping[str, Any],
    framework: str | None,
) -> dict[str, str]:
    """Texts for `__metadata__`. MindSpore reads a key that is an entry's name as its type."""
    names = {entry.name for entry in entries}
    stale = {"format", "crc_num", *names}
    kept = {k: v for k, v in metadata.get("safetensors", {}).items() if k not in stale}
    if framework in FRAMEWORKS:
        kept["format"] = FRAMEWORKS[framework]
    own = entry_bytes({k: v for k, v in metadata.items() if k != "safetensors"}, extras)
    return {**kept, **({PACKAGE_ENTRY: own.decode()} if own else {})}
