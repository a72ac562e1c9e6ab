"""The object of a PyTorch pickle taken apart: arrays, plain values, groups, what was skipped.

Shared by the zip format and the legacy stream; `torch_objects` makes the records that it finds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from batchnorm.checkpoints.checkpoint import Checkpoint, Entry, Extra, collected
from batchnorm.checkpoints.own import merged
from batchnorm.checkpoints.pickle_stream import Dictionary, Global, Opaque
from batchnorm.checkpoints.source import (
    ENTRY_COST,
    LONGEST_NAME,
    Source,
    checked_name,
    quoted,
)
from batchnorm.checkpoints.storage import Storage
from batchnorm.checkpoints.strided import Strided
from batchnorm.checkpoints.torch_objects import StorageRecord, TensorRecord

__all__ = ["Tree", "assembled"]

DEEPEST = 32  # nested containers; a state dictionary has one or two levels


class Tree:
    """The pickled object taken apart: arrays, other values, groups, what was skipped.

    Args:
        source: the file.
        root: the pickled object.
        open_storage: where a storage's bytes are, by its record.
        swapped: whether the storages have the other byte order.
    """

    def __init__(
        self,
        source: Source,
        root: Any,
        open_storage: Callable[[StorageRecord], Storage],
        swapped: bool,
    ) -> None:
        self._source, self._open, self._swapped = source, open_storage, swapped
        self._storages: dict[str, Storage] = {}
        self.entries: list[Entry] = []
        self.extras: dict[str, Extra] = {}
        self.layers: dict[str, dict[str, Extra]] = {}
        self.skipped: dict[str, str] = {}
        self.groups: list[str] = []
        if type(root) is Opaque or not isinstance(root, Dictionary | list | tuple | TensorRecord):
            name = root.name if type(root) is Opaque else type(root).__name__
            source.fail("pickle", f"holds a {name}, not a state dictionary")
        self._walk("tensor" if type(root) is TensorRecord else "", root, 0)

    def _walk(self, path: str, value: Any, depth: int) -> None:
        self._source.spend(64 + len(path), "pickle")
        if len(path) > LONGEST_NAME:  # before names are made of it
            self._source.fail(f"entry {quoted(path)}", f"a name of {len(path)} characters")
        if type(value) is TensorRecord:
            self._add(path, value)
        elif isinstance(value, Dictionary | list | tuple):
            if depth == DEEPEST:
                self._source.fail("pickle", f"containers nested more than {DEEPEST} deep")
            if type(value) is Dictionary:
                self._versions(path, value)
            children = value.values() if type(value) is Dictionary else value
            if any(type(child) is TensorRecord for child in children):
                self.groups.append(path)
            for name, child in _children(path, value):
                self._walk(name, child, depth + 1)
        elif type(value) is Opaque or type(value) is Global:
            self.skipped[path] = value.name
        elif isinstance(value, bool | int | float | str | None):
            self.extras[path] = value
        else:
            self.skipped[path] = type(value).__name__

    def _versions(self, path: str, value: Dictionary) -> None:
        versions = value.attributes.get("_metadata")
        if type(versions) is not Dictionary:
            return
        for module, facts in versions.items():
            if type(module) is str and type(facts) is Dictionary:
                prefix = f"{path}/{module}" if path else module
                self.layers[prefix] = {
                    k: v
                    for k, v in facts.items()
                    if type(k) is str and (isinstance(v, str | None) or _is_small(v))
                }

    def _add(self, path: str, tensor: TensorRecord) -> None:
        place = f"entry {quoted(path)}"
        self._source.spend(ENTRY_COST, place)
        record = tensor.storage
        if record.key not in self._storages:
            self._storages[record.key] = self._open(record)
        storage = self._storages[record.key]
        if record.numel * record.dtype.itemsize > storage.size:
            self._source.fail(place, "its storage is shorter than the tensors on it say")
        size = tensor.dtype.itemsize
        items = math.prod(tensor.shape)
        if items * size > self._source.limit:
            self._source.fail(place, f"shape {tensor.shape} is larger than the file can hold")
        start = record.offset * record.dtype.itemsize + tensor.offset * size
        reach = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.strides, strict=True))
        if items and start + (reach + 1) * size > storage.size:
            self._source.fail(place, "the tensor reaches beyond its storage; the file is damaged")
        strides = tuple(s * size for s in tensor.strides)
        layout = Strided(storage, tensor.dtype, tensor.shape, strides, start, place, self._swapped)
        self.entries.append(Entry(checked_name(self._source, path), layout))


def _is_small(value: Any) -> bool:
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < 1 << 63)


def _children(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, child in pairs:
        yield (f"{path}/{key}" if path else str(key)), child


def assembled(
    source: Source, tree: Tree, name: str, own: dict[str, Any], extras: dict[str, Extra]
) -> Checkpoint:
    """A checkpoint of what `tree` found; refuses a file without any tensor."""
    if not tree.entries:
        held = ", ".join(quoted(v) for v in list(tree.skipped.values())[:3]) or "no tensors"
        source.fail(
            "pickle", f"holds {held} and no state dictionary; save `model.state_dict()` instead"
        )
    metadata = dict(own)
    if tree.layers:
        metadata["layers"] = merged(own.get("layers", {}), tree.layers)
    if tree.skipped:
        metadata["torch"] = {"skipped": tree.skipped}
    return Checkpoint(
        entries=collected(source, tree.entries),
        format=name,
        framework="torch",
        metadata=metadata,
        extras={**tree.extras, **extras},
        groups=tuple(tree.groups),
        path=source.path,
        source=source,
    )
