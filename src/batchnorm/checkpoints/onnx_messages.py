"""The messages of an `.onnx` file as far as a checkpoint needs them: nodes, arrays, attributes.

Contents of arrays are not read here, only where they lie. Facts: onnx.proto3 of ONNX 1.23 (field
numbers). What is made of them: `onnx`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from batchnorm.checkpoints.protobuf import Field, fields, read_varint
from batchnorm.checkpoints.source import ENTRY_COST, LONGEST_NAME, Cursor, Source, text_cost

__all__ = ["Node", "Parts", "Tensor", "parts_of"]

MOST_DIMENSIONS = 64
EXTERNAL = 1


@dataclass
class Tensor:
    """An array: its name, shape and type, and where its bytes lie."""

    name: str = ""
    dims: list[int] = field(default_factory=list)
    kind: int = 0
    content: dict[int, tuple[int, int]] = field(default_factory=dict)  # by the field's number
    external: bool = False


@dataclass
class Node:
    """One operation."""

    name: str = ""
    what: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    numbers: dict[str, int | float | tuple[int, ...]] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    inner: bool = False  # holds a graph of its own, a loop's or a branch's


@dataclass
class Parts:
    """A model's graph; `sparse` counts arrays that are stored sparsely."""

    producer: str = ""
    nodes: list[Node] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    sparse: int = 0


def parts_of(source: Source) -> Parts:
    """The graph of a model."""
    found, graphs = Parts(), 0
    for one in fields(Cursor(source), source.size, "model"):
        if one.number == 2:
            found.producer = _text(source, one)
        elif one.number == 7:
            graphs += 1
            _graph(source, one, found)
        elif one.number == 25:
            source.fail(
                "model", "holds functions; `onnx.inliner.inline_local_functions` writes them out"
            )
    if graphs != 1:
        source.fail("model", f"has {graphs} graphs, and an ONNX model has one; it is damaged")
    return found


def _graph(source: Source, where: Field, found: Parts) -> None:
    for one in fields(_in(source, where), where.end, "graph"):
        if one.number == 1:
            found.nodes.append(_node(source, one))
        elif one.number == 5:
            found.tensors.append(_tensor(source, one))
        elif one.number in (11, 12):
            names = found.inputs if one.number == 11 else found.outputs
            source.spend(64, "graph")
            names.append(next((_text(source, f) for f in fields(
                _in(source, one), one.end, "input") if f.number == 1), ""))  # fmt: skip
        elif one.number == 15:
            found.sparse += 1


def _node(source: Source, where: Field) -> Node:
    source.spend(ENTRY_COST, "graph")
    node = Node()
    for one in fields(_in(source, where), where.end, "node"):
        if one.number == 1:
            node.inputs.append(_text(source, one))
        elif one.number == 2:
            node.outputs.append(_text(source, one))
        elif one.number == 3:
            node.name = _text(source, one)
        elif one.number == 4:
            node.what = _text(source, one)
        elif one.number == 5:
            _attribute(source, one, node)
    return node


def _attribute(source: Source, where: Field, node: Node) -> None:
    source.spend(ENTRY_COST, "graph")
    name, value = "", None
    integers: list[int] = []
    tensor: Tensor | None = None
    for one in fields(_in(source, where), where.end, "attribute"):
        if one.number == 1:
            name = _text(source, one)
        elif one.number == 2 and one.end - one.start == 4:
            value = struct.unpack("<f", source.read(one.start, 4, "attribute"))[0]
        elif one.number == 3 and one.value is not None:
            value = _signed(one.value)
        elif one.number == 5:
            tensor = _tensor(source, one)
        elif one.number == 8:
            added = _integers(source, one, MOST_DIMENSIONS, "attribute")
            source.spend(48 * len(added), "graph")
            integers += added
        elif one.number in (6, 11):
            node.inner = True
    if tensor is not None:
        node.tensors[name] = tensor
    elif value is not None:
        node.numbers[name] = value
    elif integers:
        node.numbers[name] = tuple(integers)


def _tensor(source: Source, where: Field) -> Tensor:
    source.spend(ENTRY_COST, "graph")
    tensor = Tensor()
    for one in fields(_in(source, where), where.end, "array"):
        if one.number == 1:
            tensor.dims += _integers(source, one, MOST_DIMENSIONS + 1, "array")
        elif one.number == 2 and one.value is not None:
            tensor.kind = one.value
        elif one.number == 8:
            tensor.name = _text(source, one)
        elif one.number in (4, 5, 7, 9, 10, 11):
            if one.number in tensor.content and one.number in (4, 9, 10):
                source.fail("array", "has its contents in pieces; save it with raw_data")
            tensor.content[one.number] = (one.start, one.end - one.start)
        elif one.number == 13 or (one.number == 14 and one.value == EXTERNAL):
            tensor.external = True
        if len(tensor.dims) > MOST_DIMENSIONS:
            source.fail("array", f"has more than {MOST_DIMENSIONS} dimensions")
    if any(side < 0 for side in tensor.dims):
        source.fail("array", "has a negative dimension; the file is damaged")
    return tensor


def _in(source: Source, where: Field) -> Cursor:
    return Cursor(source, where.start, where.end)


def _integers(source: Source, one: Field, most: int, place: str) -> list[int]:
    """Numbers of a repeated field, packed or one by one; at most `most` of them."""
    if one.value is not None:
        return [_signed(one.value)]
    cursor, found = _in(source, one), list[int]()
    while cursor.position < cursor.end and len(found) < most:
        found.append(_signed(read_varint(cursor, place)))
    return found


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _text(source: Source, one: Field) -> str:
    if one.end - one.start > 4 * LONGEST_NAME:
        source.fail("graph", "a text that is too long for a name")
    raw = source.read(one.start, one.end - one.start, "graph")
    source.spend(text_cost(raw), "graph")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return source.fail(f"graph at byte {one.start}", "a name that is not UTF-8")
