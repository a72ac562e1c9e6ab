"""PyTorch's stream format before 1.6: five pickles, then storage after storage. Read only.

Facts: torch 2.13 `serialization.py` (`_legacy_load`, `_legacy_save`) and files written with
`_use_new_zipfile_serialization=False` (tests/data/checkpoints). Storages are little-endian on every
machine; only the older `.tar` form, which is refused, was not.
"""

from __future__ import annotations

import struct
import sys
from typing import Any

from batchnorm.checkpoints.checkpoint import Checkpoint
from batchnorm.checkpoints.pickle_stream import Global, Pickle
from batchnorm.checkpoints.source import ENTRY_COST, Cursor, Source, quoted
from batchnorm.checkpoints.storage import FileStorage
from batchnorm.checkpoints.torch_objects import (
    StorageRecord,
    rebuilders,
    storage_record,
)
from batchnorm.checkpoints.torch_tree import Tree, assembled

__all__ = ["MAGIC", "read"]

MAGIC = bytes.fromhex("80028a0a6cfc9c46f920")  # the first pickle: the number 0x1950a86a20f9469cfc6c
PROTOCOL = 1001


def read(source: Source) -> Checkpoint:
    """The arrays of a legacy stream."""
    cursor = Cursor(source)
    sizes: dict[str, StorageRecord] = {}
    table = rebuilders(source)

    def persistent(operand: Any) -> StorageRecord | Global:
        if type(operand) is tuple and operand[:1] == ("module",) and type(operand[1]) is Global:
            return operand[1]  # a module's class, with its source as text
        record = storage_record(source, operand)
        known = sizes.setdefault(record.key, record)
        if (known.dtype, known.numel) != (record.dtype, record.numel):
            source.fail(f"storage {quoted(record.key)}", "is described in two ways")
        return record

    def pickled() -> Any:
        return Pickle(cursor, table, persistent).run()

    pickled()  # the magic number, which detection has seen
    if pickled() != PROTOCOL:
        source.fail("header", f"is not of protocol {PROTOCOL}")
    pickled()  # sizes of C types, used by no version of torch
    root, keys = pickled(), pickled()
    if type(keys) is not list or not all(type(key) is str for key in keys):
        source.fail("list of storages", "is not a list of keys")
    storages: dict[str, FileStorage] = {}
    for key in keys:
        place = f"storage {quoted(key)}"
        source.spend(ENTRY_COST, place)
        (numel,) = struct.unpack("<q", cursor.take(8, place))
        if key not in sizes or key in storages:
            source.fail(place, "is used by no tensor" if key not in sizes else "occurs twice")
        if numel != sizes[key].numel:
            source.fail(place, f"has {numel} elements, the pickle says {sizes[key].numel}")
        length = numel * sizes[key].dtype.itemsize
        storages[key] = FileStorage(source, [(cursor.position, length)], place)
        cursor.position += length
    if cursor.position != source.size:
        source.fail("end of file", f"{source.size - cursor.position} bytes follow the last storage")

    def open_storage(record: StorageRecord) -> FileStorage:
        if record.key not in storages:
            source.fail(f"storage {quoted(record.key)}", "is missing from the file")
        return storages[record.key]

    tree = Tree(source, root, open_storage, sys.byteorder == "big")
    return assembled(source, tree, "torch-legacy", {}, {})
