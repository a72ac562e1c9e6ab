"""PyTorch's `.pth`/`.pt` since 1.6: a zip of one pickle and one stored member per storage.

Reads nested dictionaries, parameters, shared storages, views and both byte orders; writes a flat
`OrderedDict` that `torch.load(weights_only=True)` opens, each storage aligned to 64 bytes. Facts:
torch 2.13 `serialization.py`, and files written by it (tests/data/checkpoints).
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Mapping, Sequence
from typing import IO, Any

from batchnorm.checkpoints.checkpoint import CHUNK, Checkpoint, Entry, Extra
from batchnorm.checkpoints.package_entry import PACKAGE_ENTRY, entry_bytes, parsed_entry
from batchnorm.checkpoints.pickle_stream import Pickle
from batchnorm.checkpoints.source import Cursor, Source, quoted
from batchnorm.checkpoints.storage import FileStorage
from batchnorm.checkpoints.strided import little_endian
from batchnorm.checkpoints.torch_objects import (
    DTYPES,
    STORAGES,
    StorageRecord,
    rebuilders,
    storage_record,
)
from batchnorm.checkpoints.torch_tree import Tree, assembled
from batchnorm.checkpoints.zip_archive import Member, check_crc, read_members, stored_storage
from batchnorm.checkpoints.zip_writer import ZipWriter
from batchnorm.errors import CheckpointError

__all__ = ["read", "write"]

SMALL = 1 << 16  # bytes of a member that is no storage and worth a look all the same
ROOT = "archive"  # the folder that torch.save(file object) uses
OWN_MEMBER = f".data/{PACKAGE_ENTRY}"  # torch reads only the records that it asks for


def read(source: Source) -> Checkpoint:
    """The arrays of a zip checkpoint."""
    members = read_members(source)
    pickles = [name for name in members if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(pickles) != 1:
        source.fail("zip directory", f"{len(pickles)} members are called data.pkl, not one")
    root = pickles[0].removesuffix("data.pkl")
    if root + "constants.pkl" in members:
        source.fail(
            "zip directory",
            "is a TorchScript program, not a checkpoint; in torch, save "
            "`torch.jit.load(path).state_dict()` with torch.save",
        )
    order = _small(source, members, root + "byteorder") or b"little"
    if order not in (b"little", b"big"):
        source.fail("zip member byteorder", f"says {quoted(order)}, not little or big")

    def open_storage(record: StorageRecord) -> FileStorage:
        member = members.get(f"{root}data/{record.key}")
        if member is None:
            source.fail(f"storage {quoted(record.key)}", "is missing from the archive")
        if member.size != record.numel * record.dtype.itemsize:
            source.fail(
                f"zip member {quoted(member.name)}",
                f"has {member.size} bytes, the pickle says {record.numel} × {record.dtype}",
            )
        return stored_storage(source, member, zero_is_none=True)

    pickle = members[pickles[0]]
    stored_storage(source, pickle)  # so that it is a range of the archive
    for member in members.values():
        small = member.size <= SMALL and not member.name.startswith(root + "data/")
        if member is pickle or small:  # what nobody reads may be damaged, too
            check_crc(source, member, zero_is_none=True)
    run = Pickle(
        Cursor(source, pickle.offset, pickle.offset + pickle.size),
        rebuilders(source),
        lambda operand: storage_record(source, operand),
    )
    tree = Tree(source, run.run(), open_storage, order.decode() != sys.byteorder)
    own, extras = parsed_entry(source, _small(source, members, root + OWN_MEMBER, 1 << 26))
    return assembled(source, tree, "torch", own, extras)


def _small(
    source: Source, members: Mapping[str, Member], name: str, limit: int = 64
) -> bytes | None:
    member = members.get(name)
    if member is None:
        return None
    if member.size > limit:
        source.fail(f"zip member {quoted(name)}", f"{member.size} bytes are too many for it")
    source.spend(2 * member.size, name)
    buffer = bytearray(member.size)
    stored_storage(source, member, zero_is_none=True).readinto(0, memoryview(buffer))
    return bytes(buffer)


def write(
    out: IO[bytes],
    entries: Sequence[Entry],
    extras: Mapping[str, Extra],
    metadata: Mapping[str, Any],
) -> None:
    """Write a flat state dictionary; extras go into our own entry, so it loads as one."""
    archive = ZipWriter(out)
    archive.bytes(f"{ROOT}/data.pkl", _pickled(entries, metadata.get("layers", {})))
    for name, text in ((".format_version", b"1"), (".storage_alignment", b"64")):
        archive.bytes(f"{ROOT}/{name}", text)
    archive.bytes(f"{ROOT}/byteorder", b"little")
    for index, entry in enumerate(entries):
        with archive.member(f"{ROOT}/data/{index}", entry.nbytes) as sink:
            for piece in entry.chunks(CHUNK):
                sink.write(little_endian(piece))
    archive.bytes(f"{ROOT}/version", b"3\n")
    kept = {k: v for k, v in metadata.items() if k != "torch"}
    layers = {n: f for n, f in kept.pop("layers", {}).items() if not _is_version(f)}
    own = entry_bytes({**kept, "layers": layers} if layers else kept, extras)
    if own:
        archive.bytes(f"{ROOT}/{OWN_MEMBER}", own)
    archive.close()


def _is_version(facts: Mapping[str, Any]) -> bool:
    """Whether a layer's facts are what torch itself keeps in `_metadata`."""
    return "version" in facts and "class_name" not in facts


def _pickled(entries: Sequence[Entry], layers: Mapping[str, Any]) -> bytes:
    ordered = b"ccollections\nOrderedDict\n)R"
    state = bytearray(ordered + b"(")
    for index, entry in enumerate(entries):
        state += _text(entry.name) + _tensor(index, entry)
    state += b"u"
    versions = {n: f for n, f in layers.items() if _is_version(f)}
    if versions:
        state += b"}" + _text("_metadata") + ordered + b"("
        for module, facts in versions.items():
            state += _text(module) + _dict(facts)
        state += b"usb"
    return b"\x80\x02" + bytes(state) + b"."


def _tensor(index: int, entry: Entry) -> bytes:
    kind = next((n for n, t in DTYPES.items() if t == entry.dtype), None)
    if kind is None:
        raise CheckpointError(
            f"entry {quoted(entry.name)}: torch has no type {entry.dtype}; convert it first"
        )
    storage = next((s for s, t in STORAGES.items() if t == kind and s != "UntypedStorage"), None)
    items = entry.nbytes // entry.dtype.itemsize
    strides, step = [], 1
    for size in reversed(entry.shape):
        strides.append(step)
        step *= max(size, 1)
    function = "_rebuild_tensor_v2" if storage else "_rebuild_tensor_v3"
    return (
        f"ctorch._utils\n{function}\n(".encode()
        + b"("
        + _text("storage")
        + (f"ctorch\n{storage}\n" if storage else "ctorch.storage\nUntypedStorage\n").encode()
        + _text(str(index))
        + _text("cpu")
        + _plain(items if storage else entry.nbytes)
        + b"tQ"
        + _plain(0)
        + _numbers(entry.shape)
        + _numbers(tuple(reversed(strides)))
        + b"\x89ccollections\nOrderedDict\n)R"
        + (b"" if storage else f"ctorch\n{kind}\n".encode())
        + b"tR"
    )


def _text(text: str) -> bytes:
    data = text.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _numbers(values: Sequence[int]) -> bytes:
    return b"(" + b"".join(map(_plain, values)) + b"t"


def _dict(facts: Mapping[str, Extra]) -> bytes:
    return b"}(" + b"".join(_text(k) + _plain(v) for k, v in facts.items()) + b"u"


def _plain(value: Extra) -> bytes:
    if value is None:
        return b"N"
    if isinstance(value, bool):
        return b"\x88" if value else b"\x89"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    if -(1 << 31) <= value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    return b"\x8a\x09" + value.to_bytes(9, "little", signed=True)
