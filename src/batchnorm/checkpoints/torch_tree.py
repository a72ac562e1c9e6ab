"""The object of a PyTorch pickle taken apart: arrays, plain values, groups, what was skipped.

Shared by the zip format and the legacy stream; `torch_objects` makes the records that it finds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, TypeGuard

from batchnorm.checkpoints.checkpoint import Checkpoint, Entry, Extra, collected
from batchnorm.checkpoints.package_entry import merged
from batchnorm.checkpoints.pickle_stream import Dictionary, Global, Instance, Opaque
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
MODULE = ("_parameters", "_buffers", "_modules")  # what torch's Module keeps, in saving order
SETTINGS = 64  # plain values kept of a module


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
        self.layers: dict[str, dict[str, Any]] = {}
        self.skipped: dict[str, str] = {}
        self.groups: dict[str, None] = {}  # in their order
        self.modules: dict[str, str] = {}
        if not (isinstance(root, Dictionary | list | tuple | TensorRecord) or is_module(root)):
            name = root.name if isinstance(root, Opaque | Instance) else type(root).__name__
            source.fail("pickle", f"holds a {name}, not a state dictionary")
        self._walk("tensor" if type(root) is TensorRecord else "", root, 0)

    def _walk(self, path: str, value: Any, depth: int) -> None:
        self._source.spend(240 + len(path) * (1 if path.isascii() else 4), "pickle")
        if len(path) > LONGEST_NAME:  # before names are made of it
            self._source.fail(f"entry {quoted(path)}", f"a name of {len(path)} characters")
        if type(value) is TensorRecord:
            self._add(path, value)
        elif isinstance(value, Dictionary | list | tuple):
            if depth == DEEPEST:
                self._source.fail("pickle", f"containers nested more than {DEEPEST} deep")
            if type(value) is Dictionary:
                self._versions(path, value)
                for kind, count in value.odd.items():
                    items = f"{count} item{'s' if count > 1 else ''} under keys that are no names"
                    self.skipped[f"{path}/<{kind}>".lstrip("/")] = items
            children = value.values() if type(value) is Dictionary else value
            if any(type(child) is TensorRecord for child in children):
                self.groups[path] = None
            for name, child in _children(path, value):
                self._walk(name, child, depth + 1)
        elif is_module(value):
            self.modules[path] = value.name
            self._module(path, "", value, depth)
        elif isinstance(value, Opaque | Instance | Global):
            self.skipped[path] = value.name
        elif isinstance(value, bool | int | float | str | None):
            self.extras[path] = value
        else:
            self.skipped[path] = type(value).__name__

    def _module(self, front: str, path: str, module: Instance, depth: int) -> None:
        """What `state_dict()` of a module would hold, under attribute paths, in its order."""
        self._source.spend(256, "pickle")
        if depth == DEEPEST or len(front) + len(path) > LONGEST_NAME:
            self._source.fail("pickle", f"modules nested more than {DEEPEST} deep")
        state = module.state or Dictionary()
        parts = [state.get(name) for name in MODULE]
        passing = state.get("_non_persistent_buffers_set")
        passing = passing.texts if type(passing) is Opaque else frozenset()
        slash = f"{front}/" if front else ""
        dot = f"{path}." if path else ""
        held = False
        for part in parts[:2]:
            for name, value in part.items() if type(part) is Dictionary else ():
                if type(value) is TensorRecord and name not in passing:
                    self._add(f"{slash}{dot}{name}", value)
                    held = True
        if held:
            self.groups[front] = None
            config = dict(_plain_settings(state))
            lengths = [len(v) for v in config.values() if isinstance(v, list)]
            self._source.spend(128 * len(config) + sum(56 + 8 * n for n in lengths), "pickle")
            self.layers[slash + path] = {
                "class": module.name.rpartition(".")[2],
                "config": config,
            }
        for name, value in parts[2].items() if type(parts[2]) is Dictionary else ():
            if is_module(value):
                self._module(front, f"{dot}{name}", value, depth + 1)

    def _versions(self, path: str, value: Dictionary) -> None:
        versions = value.attributes.get("_metadata")
        if type(versions) is not Dictionary:
            return
        for module, facts in versions.items():
            if type(module) is str and type(facts) is Dictionary:
                # One table can be that of many modules, each of which gets a copy.
                names = 4 * (len(path) + len(module))
                self._source.spend(256 + names + 128 * len(facts), "pickle")
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
        sides = zip(tensor.shape, tensor.strides, strict=True)
        strides = tuple(s * size if n > 1 and items else 0 for n, s in sides)
        layout = Strided(storage, tensor.dtype, tensor.shape, strides, start, place, self._swapped)
        self.entries.append(Entry(checked_name(self._source, path), layout))


def is_module(value: object) -> TypeGuard[Instance]:
    """Whether an object is a module: its attributes have the three tables that modules have."""
    state = value.state if type(value) is Instance else None
    return state is not None and all(type(state.get(n)) is Dictionary for n in MODULE)


def _plain_settings(state: Dictionary) -> Iterator[tuple[str, Any]]:
    """A module's own numbers, flags and texts, such as eps, momentum and stride."""
    for name, value in list(state.items())[:SETTINGS]:
        if type(name) is not str or name[:1] == "_" or name == "training" or len(name) > 64:
            continue
        items = value if isinstance(value, list | tuple) else [value]
        if len(items) <= 8 and all(
            v is None or _is_small(v) or (isinstance(v, str) and len(v) < 64) for v in items
        ):
            yield name, list(value) if isinstance(value, tuple) else value


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
    facts = {"skipped": tree.skipped, "modules": tree.modules}
    if any(facts.values()):
        metadata["torch"] = {name: part for name, part in facts.items() if part}
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
