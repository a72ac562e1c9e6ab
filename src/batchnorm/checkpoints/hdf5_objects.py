"""HDF5 read in pure Python: the tree of groups and datasets, links checked before followed.

Why no library: libhdf5 is C and dies of damaged files (of 4,500 files with a few bytes changed one
ended in SIGSEGV and one hung for ever, in the calling process), so it would need a child process
with limits; pyfive 1.3 is Python and survives, but brings fsspec and numcodecs, allocates what a
damaged size says, and can't bound its work. Keras writes a small part of the format: this part.
Facts: HDF5 File Format Specification 3.0, chapter III; files of h5py 3.14 and Keras 2 and 3.

Links that are not hard, objects reached twice, data in other files and dense storage are refused.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from batchnorm.checkpoints.hdf5_headers import Message, messages, root_address
from batchnorm.checkpoints.hdf5_types import Attribute, GlobalHeap
from batchnorm.checkpoints.source import ENTRY_COST, Source, checked_name, quoted

__all__ = [
    "FILL",
    "FILTERS",
    "LAYOUT",
    "SPACE",
    "TYPE",
    "Group",
    "Object",
    "open_root",
    "tree_leaves",
]

DEEPEST = 48
SPACE = 0x1  # kinds of messages
LINK_INFO = 0x2
TYPE = 0x3
FILL = 0x5
LINK = 0x6
EXTERNAL = 0x7
LAYOUT = 0x8
FILTERS = 0xB
ATTRIBUTE = 0xC
SYMBOLS = 0x11
ATTRIBUTE_INFO = 0x15
HARD, SOFT = 0, 1
ONLY_HERE = "only data in the file itself are read"
DENSE = (
    "is stored in HDF5's newer dense form, which Keras does not write; load the file in Keras, or "
    "copy it with h5py, and save it with the default settings (libver='earliest')"
)


@dataclass(slots=True)
class Object:
    """A dataset, or anything that is not a group."""

    path: str
    messages: dict[int, Message] = field(default_factory=dict)
    attributes: dict[str, Attribute] = field(default_factory=dict)
    links: list[Message] = field(default_factory=list)


@dataclass(slots=True)
class Group(Object):
    """A group: its members by name."""

    members: dict[str, Object] = field(default_factory=dict)

    def find(self, path: str) -> Object | None:
        """The object at `path` below this group."""
        found: Object | None = self
        for name in path.split("/"):
            found = found.members.get(name) if isinstance(found, Group) else None
        return found

    def group(self, name: str) -> Group | None:
        """The member `name` if it is a group."""
        member = self.members.get(name)
        return member if isinstance(member, Group) else None

    def walk(self) -> Iterator[Object]:
        """The group and everything below it."""
        waiting: list[Object] = [self]
        while waiting:
            found = waiting.pop()
            yield found
            if isinstance(found, Group):
                waiting.extend(found.members.values())


def open_root(source: Source) -> Group:
    """The whole tree of objects; no array is read."""
    heap, seen = GlobalHeap(source), set[int]()
    root = _object(heap, root_address(source), "", seen)
    if not isinstance(root, Group):
        source.fail("root", "is not a group")
    waiting = [(root, 0)]
    while waiting:
        group, depth = waiting.pop()
        for name, address in _links(source, group):
            path = f"{group.path}/{name}" if group.path else name
            if depth == DEEPEST:
                source.fail(f"object {quoted(path)}", f"is nested more than {DEEPEST} deep")
            if not name or "/" in name or name == "." or name in group.members:
                source.fail(f"object {quoted(path)}", "has a name that is empty or occurs twice")
            member = _object(heap, address, checked_name(source, path), seen)
            group.members[name] = member
            if isinstance(member, Group):
                waiting.append((member, depth + 1))
    return root


def _object(heap: GlobalHeap, address: int, path: str, seen: set[int]) -> Object:
    source, place = heap.source, f"object {quoted(path or '/')}"
    source.spend(ENTRY_COST + len(path), place)
    if address in seen:
        source.fail(place, "is reached twice; links that share or go in a circle are refused")
    seen.add(address)
    found = Object(path)
    for message in messages(source, address, place):
        if message.kind == ATTRIBUTE:
            source.spend(640, place)
            attribute = Attribute(heap, message.data, place)
            found.attributes[attribute.name] = attribute
        elif message.kind == ATTRIBUTE_INFO and _is_dense(message, 2):
            source.fail(place, f"an attribute {DENSE}")
        elif message.kind == LINK_INFO and _is_dense(message, 8):
            source.fail(place, f"its list of members {DENSE}")
        elif message.kind == EXTERNAL:
            source.fail(place, "keeps its data in another file, which is never opened")
        elif message.kind == LINK:
            found.links.append(message)
        else:
            found.messages.setdefault(message.kind, message)
    if found.links or SYMBOLS in found.messages or LINK_INFO in found.messages:
        return Group(found.path, found.messages, found.attributes, found.links)
    return found


def _is_dense(message: Message, wide: int) -> bool:
    """Whether an info message names a heap; `wide` bytes before it count creation order."""
    if len(message.data) < 2:
        return True
    at = 2 + (wide if message.data[1] & 1 else 0)
    return message.data[at : at + 8] != b"\xff" * 8


def _links(source: Source, group: Group) -> Iterator[tuple[str, int]]:
    """Name and address of each member."""
    place = f"group {quoted(group.path or '/')}"
    for message in group.links:
        yield _link(source, message.data, place)
    table = group.messages.get(SYMBOLS)
    if table is not None:
        if len(table.data) < 16:
            source.fail(place, "a symbol table without addresses")
        tree, heap = struct.unpack_from("<QQ", table.data)
        yield from _symbols(source, tree, heap, place)


def _link(source: Source, data: bytes, place: str) -> tuple[str, int]:
    """A link message of the newer form."""
    data = data.ljust(32, b"\0")
    flags, at, kind = data[1], 2, HARD
    if flags & 0x08:
        kind, at = data[at], at + 1
    at += (8 if flags & 0x04 else 0) + (1 if flags & 0x10 else 0)
    width = 1 << (flags & 3)
    length = int.from_bytes(data[at : at + width], "little")
    at += width
    if data[0] != 1 or len(data) < at + length + 8:
        source.fail(place, "a link that is cut short")
    name = data[at : at + length].decode("utf-8", "backslashreplace")
    if kind != HARD:
        what = "a soft" if kind == SOFT else "an external"
        source.fail(place, f"{quoted(name)} is {what} link; {ONLY_HERE}")
    (address,) = struct.unpack_from("<Q", data, at + length)
    return name, int(address)


def _symbols(source: Source, tree: int, heap: int, place: str) -> Iterator[tuple[str, int]]:
    """The members in a group's B-tree, whose names lie in its local heap."""
    head = source.read(heap, 32, place)
    if head[:5] != b"HEAP\0":
        source.fail(place, "its heap of names is missing")
    size, _, start = struct.unpack_from("<QQQ", head, 8)
    source.spend(size, place)
    names = source.read(start, size, place)
    for _, child in tree_leaves(source, tree, 0, 8, place):
        node = source.read(child, 8, place)
        (count,) = struct.unpack_from("<H", node, 6)
        if node[:5] != b"SNOD\1":
            source.fail(place, "its list of members is damaged")
        entries = source.read(child + 8, 40 * count, place)
        for at in range(0, 40 * count, 40):
            offset, address, cached = struct.unpack_from("<QQI", entries, at)
            end = names.find(b"\0", offset, offset + 4096) if offset < size else -1
            if end < 0:
                source.fail(place, "a member without a name")
            name = names[offset:end].decode("utf-8", "backslashreplace")
            if cached == 2:
                source.fail(place, f"{quoted(name)} is a soft link; {ONLY_HERE}")
            yield name, address


def tree_leaves(
    source: Source, address: int, kind: int, key_size: int, place: str
) -> Iterator[tuple[bytes, int]]:
    """(key, child) of every leaf of a version 1 B-tree; no node twice, levels must fall."""
    waiting, seen = [(address, 64)], {address}
    while waiting:
        node, above = waiting.pop()
        head = source.read(node, 24, place)
        level = head[5]
        (count,) = struct.unpack_from("<H", head, 6)
        if head[:5] != b"TREE" + bytes([kind]) or level >= above:
            source.fail(place, "its index is damaged")
        step = key_size + 8
        table = source.read(node + 24, count * step, place)
        source.spend(count * 128, place)
        children = []
        for at in range(0, count * step, step):
            (child,) = struct.unpack_from("<Q", table, at + key_size)
            if child in seen:
                source.fail(place, "its index goes in a circle")
            seen.add(child)
            if level == 0:
                yield table[at : at + key_size], child
            else:
                children.append((child, level))
        waiting.extend(reversed(children))
