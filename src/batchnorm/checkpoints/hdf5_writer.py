"""Write HDF5 in pure Python: groups, contiguous datasets of numbers, attributes of text.

The oldest form (superblock 0, symbol tables), which every HDF5 reads, laid out as superblock,
arrays, the rest, so that arrays stream and the same input gives the same bytes; no timestamps. It
is little beside the reader, and spares users a compiled dependency. Facts: HDF5 File Format
Specification 3.0; the bytes that h5py 3.14 writes.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO, Any

import ml_dtypes
import numpy as np

from batchnorm.checkpoints.checkpoint import CHUNK, Entry
from batchnorm.checkpoints.hdf5_headers import messages, root_address
from batchnorm.checkpoints.hdf5_types import FLOAT_FORMS, Attribute, GlobalHeap, complex_form
from batchnorm.checkpoints.source import Source, quoted
from batchnorm.checkpoints.strided import little_endian
from batchnorm.errors import CheckpointError

__all__ = ["NewDataset", "NewGroup", "with_attribute", "write_tree"]

UNDEFINED = 0xFFFFFFFFFFFFFFFF
LEAF, INTERNAL = 4, 16  # half the members per symbol node and children per tree node: the defaults
NODE_SIZE, TREE_SIZE = 8 + 2 * LEAF * 40, 24 + (4 * INTERNAL + 1) * 8
FIRST_DATA = 128
ATTRIBUTE = 0xC
HEAP_SIZE = 4096
MOST_TEXTS = 4000  # per attribute: a message holds 64 KiB, a text takes 16 bytes of it
TEXT = bytes.fromhex("1901010010000000 1000000001000000 0000080000000000")  # UTF-8, any length
FILL = bytes.fromhex("0202020100000000")
BOOL = bytes.fromhex(
    "1802000001000000 1008000001000000 0000080046414c53 4500000054525545 0000000000010000"
)
BFLOAT16 = bytes.fromhex("1500000002000000")  # opaque; Keras names the type in an attribute


@dataclass
class NewDataset:
    """An array to write."""

    entry: Entry


@dataclass
class NewGroup:
    """A group to write; attributes are a text or a list of texts."""

    attributes: dict[str, str | list[str]] = field(default_factory=dict)
    members: dict[str, NewGroup | NewDataset] = field(default_factory=dict)

    def at(self, path: str) -> NewGroup:
        """The group at `path` below this one, made where it is missing."""
        group = self
        for name in filter(None, path.split("/")):
            member = group.members.setdefault(name, NewGroup())
            if not isinstance(member, NewGroup):
                raise CheckpointError(f"{quoted(path)}: {quoted(name)} is an array, not a group")
            group = member
        return group

    def add(self, path: str, entry: Entry) -> None:
        """Put an array at `path` below this group."""
        folder, _, name = path.rpartition("/")
        group = self.at(folder)
        if name in group.members or name in ("", ".") or "\0" in name:
            raise CheckpointError(f"entry {quoted(path)}: two arrays of this name, or none")
        group.members[name] = NewDataset(entry)


def write_tree(out: IO[bytes], root: NewGroup) -> None:
    """Write a whole file; arrays follow each other in the order of the tree."""
    datasets = list(_datasets(root))
    starts, position = {}, FIRST_DATA
    for dataset in datasets:
        starts[id(dataset)] = position
        position += -(-dataset.entry.nbytes // 64) * 64
    layout = _Metadata(position, starts)
    address, tree, heap = layout.group(root)
    layout.close()
    end = position + len(layout.data)
    superblock = b"\x89HDF\r\n\x1a\n" + bytes([0, 0, 0, 0, 0, 8, 8, 0])
    superblock += struct.pack("<HHI", LEAF, INTERNAL, 0)
    superblock += struct.pack("<QQQQ", 0, UNDEFINED, end, UNDEFINED)
    superblock += struct.pack("<QQIIQQ", 0, address, 1, 0, tree, heap)
    out.write(superblock.ljust(FIRST_DATA, b"\0"))
    for dataset in datasets:
        written = 0
        for piece in dataset.entry.chunks(CHUNK):
            written += out.write(little_endian(piece))
        out.write(bytes(-written % 64))
    out.write(layout.data)


def _datasets(group: NewGroup) -> Sequence[NewDataset]:
    found: list[NewDataset] = []
    for member in group.members.values():
        found += _datasets(member) if isinstance(member, NewGroup) else [member]
    return found


class _Metadata:
    """The part behind the arrays, put together from the leaves to the root."""

    def __init__(self, base: int, starts: dict[int, int]) -> None:
        self.data = bytearray()
        self._base, self._starts = base, starts
        self._heap = bytearray()  # the collection of texts that is being filled
        self._heap_at, self._texts = 0, 0

    def _put(self, block: bytes) -> int:
        address = self._base + len(self.data)
        self.data += block + bytes(-len(block) % 8)
        return address

    def group(self, group: NewGroup) -> tuple[int, int, int]:
        """Addresses of the group's header, tree and heap."""
        addresses = {
            name: self.group(member)[0] if isinstance(member, NewGroup) else self._dataset(member)
            for name, member in group.members.items()
        }
        names = sorted((name.encode(), address) for name, address in addresses.items())
        segment, offsets = bytearray(8), []
        for raw, _ in names:
            offsets.append(len(segment))
            segment += raw + bytes(8 - len(raw) % 8)
        at = self._put(bytes(segment))
        heap = self._put(b"HEAP\0\0\0\0" + struct.pack("<QQQ", len(segment), 1, at))
        tree = self._tree([(o, a) for o, (_, a) in zip(offsets, names, strict=True)])
        messages = [(0x11, struct.pack("<QQ", tree, heap))]
        return self.header(messages, group.attributes), tree, heap

    def _tree(self, symbols: list[tuple[int, int]]) -> int:
        """A B-tree over nodes of symbols; its keys are heap offsets of the last name below."""
        below: list[tuple[int, int]] = []  # (last name, address) of each node
        for start in range(0, len(symbols), 2 * LEAF):
            part = symbols[start : start + 2 * LEAF]
            node = b"SNOD\1\0" + struct.pack("<H", len(part))
            node += b"".join(struct.pack("<QQII16x", offset, a, 0, 0) for offset, a in part)
            below.append((part[-1][0], self._put(node.ljust(NODE_SIZE, b"\0"))))
        level = 0
        while True:
            parts = [
                below[start : start + 2 * INTERNAL]
                for start in range(0, max(len(below), 1), 2 * INTERNAL)
            ]
            first, previous = self._base + len(self.data), 0
            above = []
            for index, part in enumerate(parts):
                left = first + (index - 1) * TREE_SIZE if index else UNDEFINED
                right = first + (index + 1) * TREE_SIZE if index + 1 < len(parts) else UNDEFINED
                node = b"TREE" + struct.pack("<BBHQQ", 0, level, len(part), left, right)
                node += struct.pack("<Q", previous)
                node += b"".join(struct.pack("<QQ", child, last) for last, child in part)
                previous = part[-1][0] if part else 0
                above.append((previous, self._put(node.ljust(TREE_SIZE, b"\0"))))
            if len(above) == 1:
                return above[0][1]
            below, level = above, level + 1

    def _dataset(self, dataset: NewDataset) -> int:
        entry = dataset.entry
        space = struct.pack("<BBBB4x", 1, len(entry.shape), int(bool(entry.shape)), 0)
        space += struct.pack(f"<{2 * len(entry.shape)}Q", *entry.shape, *entry.shape)
        start = self._starts[id(dataset)] if entry.nbytes else UNDEFINED
        layout = struct.pack("<BBQQ", 3, 1, start, entry.nbytes)
        messages = [(0x1, space), (0x3, _datatype(entry)), (0x5, FILL), (0x8, layout)]
        named = {"dtype": "bfloat16"} if entry.dtype == ml_dtypes.bfloat16 else {}
        return self.header(messages, dict(named))

    def header(
        self, messages: list[tuple[int, bytes]], attributes: dict[str, str | list[str]]
    ) -> int:
        """An object header; returns its address."""
        messages = messages + [
            (0xC, self._attribute(name, value))
            for key, whole in attributes.items()
            for name, value in _split(key, whole)
        ]
        body = b""
        for kind, data in messages:
            data += bytes(-len(data) % 8)
            body += struct.pack("<HHB3x", kind, len(data), 0) + data
        return self._put(struct.pack("<BxHII4x", 1, len(messages), 1, len(body)) + body)

    def _attribute(self, name: str, value: str | list[str]) -> bytes:
        texts = [value] if isinstance(value, str) else value
        space = struct.pack("<BBBB4x", 1, 0, 0, 0)
        if not isinstance(value, str):
            space = struct.pack("<BBBB4xQQ", 1, 1, 1, 0, len(texts), len(texts))
        raw = name.encode() + b"\0"
        head = struct.pack("<BxHHH", 1, len(raw), len(TEXT), len(space))
        padded = raw + bytes(-len(raw) % 8)
        return head + padded + TEXT + space + b"".join(map(self._text, texts))

    def _text(self, text: str) -> bytes:
        """Put a text into the heap; the reference to it."""
        raw = text.encode()
        if not raw:
            return bytes(16)
        needed = 16 + len(raw) + -len(raw) % 8
        full = self._texts == 0xFFFF or len(self._heap) + needed > HEAP_SIZE - 16
        if full or not self._heap:
            self._close_heap()
            self._heap_at = self._put(bytes(max(HEAP_SIZE, 32 + needed)))
            self._heap = bytearray(16)
            self._texts = 0
        self._texts += 1
        self._heap += struct.pack("<HH4xQ", self._texts, 0, len(raw)) + raw + bytes(-len(raw) % 8)
        return struct.pack("<IQI", len(raw), self._heap_at, self._texts)

    def _close_heap(self) -> None:
        if self._heap:
            at = self._heap_at - self._base
            size = max(HEAP_SIZE, 16 + len(self._heap))
            self._heap[:16] = b"GCOL\1\0\0\0" + struct.pack("<Q", size)
            free = struct.pack("<HH4xQ", 0, 0, size - len(self._heap))
            self.data[at : at + len(self._heap) + 16] = self._heap + free

    def close(self) -> None:
        """Finish the heap of texts."""
        self._close_heap()
        self._heap = bytearray()


def with_attribute(source: Source, name: str, text: str) -> tuple[list[tuple[int, bytes]], bytes]:
    """What makes an existing file have one more text at its root: (patches, bytes to append).

    The root's header is written anew at the end, so nothing else moves.
    """
    start = source.read(0, 96, "superblock")
    if start[8] != 0:
        source.fail(
            "superblock",
            "the template is of HDF5's newer form, to which no metadata can be added; save it "
            "with the default settings (libver='earliest')",
        )
    address = root_address(source)
    end = -(-source.size // 8) * 8
    layout = _Metadata(end, {})
    kept = [
        (m.kind, m.data)
        for m in messages(source, address, "root")
        if not (m.kind == ATTRIBUTE and Attribute(GlobalHeap(source), m.data, "root").name == name)
    ]
    header = layout.header(kept, {name: text})
    layout.close()
    total = end + len(layout.data)
    patches = [(40, struct.pack("<Q", total)), (64, struct.pack("<Q", header))]
    return patches, bytes(end - source.size) + bytes(layout.data)


def _split(name: str, value: str | list[str]) -> list[tuple[str, str | list[str]]]:
    """A list too long for one attribute goes into `name0`, `name1`, …, as Keras does."""
    if isinstance(value, str) or len(value) <= MOST_TEXTS:
        return [(name, value)]
    parts = range(math.ceil(len(value) / MOST_TEXTS))
    return [(f"{name}{i}", value[i * MOST_TEXTS : (i + 1) * MOST_TEXTS]) for i in parts]


def _datatype(entry: Entry) -> bytes:
    dtype: np.dtype[Any] = entry.dtype
    if dtype == np.bool_:
        return BOOL
    if dtype == ml_dtypes.bfloat16:
        return BFLOAT16
    if dtype.kind == "f" and dtype.itemsize in FLOAT_FORMS:
        return FLOAT_FORMS[dtype.itemsize]
    if dtype.kind == "c" and dtype.itemsize in (8, 16):
        return complex_form(1, dtype.itemsize // 2)
    if dtype.kind in "iu":
        signed = 8 if dtype.kind == "i" else 0
        return struct.pack("<BBHIHH", 0x10, signed, 0, dtype.itemsize, 0, 8 * dtype.itemsize)
    raise CheckpointError(
        f"entry {quoted(entry.name)}: Keras's HDF5 has no type {dtype}; convert it first"
    )
