"""Which layer of the port is which of the source: the map, names, what reaches them, values, order.

In this order. Names count where they are the same but for separators and what stands in front;
inputs and values where one layer of each side fits and no other does; order last, among layers of
the same kind and number of channels.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from batchnorm.diagnose.recording import INFERENCE, Node, Recording
from batchnorm.diagnose.state import same
from batchnorm.errors import InvalidValue

__all__ = ["Pair", "align"]


@dataclass(frozen=True)
class Pair:
    """Two layers that belong together, and by what.

    Attributes:
        source: a layer of the source.
        port: one of the port.
        why: map, name, input, values or order.
        place: of the source's layer in the order of execution.
    """

    source: Node
    port: Node
    why: str
    place: int


def align(
    source: Recording, port: Recording, map: Mapping[str, str] | None = None
) -> tuple[list[Pair], list[Node], list[Node]]:
    """Pairs in the source's order, and what is left of the two sides.

    Raises:
        ValueError: the map names a layer that isn't there.
    """
    mine, theirs = list(source.nodes), list(port.nodes)
    found: dict[int, tuple[Node, str]] = {}
    left, right = {id(n): n for n in mine}, {id(n): n for n in theirs}

    def pair(a: Node, b: Node, why: str) -> None:
        found[id(a)] = (b, why)
        left.pop(id(a))
        right.pop(id(b))

    for name, other in (map or {}).items():
        a = next((n for n in mine if n.name == name), None)
        b = next((n for n in theirs if n.name == other), None)
        if a is None or b is None:
            side, wanted = ("source", name) if a is None else ("port", other)
            nodes = mine if a is None else theirs
            names = ", ".join(n.name for n in nodes[:8])
            raise InvalidValue(f"the map names {wanted!r}, which the {side} hasn't; it has {names}")
        if id(a) in left and id(b) in right:
            pair(a, b, "map")
    keys: list[tuple[str, Callable[[Node], Hashable]]] = [
        ("name", lambda n: (_kind(n), plain(n.name))),
        ("name", lambda n: (_kind(n), plain(n.name, wrappers=True))),
    ]
    for why, key in keys:
        for a, b in _unique(left.values(), right.values(), key):
            pair(a, b, why)
    for why, alike in (("input", _alike_input), ("values", _alike_values)):
        for a, b in _matching(list(left.values()), list(right.values()), alike):
            pair(a, b, why)
    rest: dict[Hashable, tuple[list[Node], list[Node]]] = defaultdict(lambda: ([], []))
    for index, held in enumerate((left, right)):
        for node in held.values():
            rest[_signature(node)][index].append(node)
    for ones, others in rest.values():
        if len(ones) == len(others):
            for a, b in zip(ones, others, strict=True):
                pair(a, b, "order")
    for kind in ("batch_norm", "weighted"):  # whatever their sizes, where the numbers agree
        ones = [n for n in left.values() if _kind(n) == kind]
        others = [n for n in right.values() if _kind(n) == kind]
        if len(ones) == len(others):
            for a, b in zip(ones, others, strict=True):
                pair(a, b, "order")
    place = {id(n): i for i, n in enumerate(mine)}
    pairs = [Pair(n, *found[id(n)], place[id(n)]) for n in mine if id(n) in found]
    return pairs, list(left.values()), list(right.values())


def _kind(node: Node) -> str:
    return "batch_norm" if node.kind == "batch_norm" else "weighted"


def plain(name: str, wrappers: bool = False) -> str:
    """A name without separators, and without what wraps whole models.

    >>> plain("module.layer1.0.down_sample", wrappers=True)
    'layer1|0downsample'
    """
    text = name.lower()
    if wrappers:
        text = re.sub(r"^((module|model|net|backbone|network|_orig_mod)[._/])+", "", text)
    text = re.sub(r"(?<=\d)[._/-]+(?=\d)", "|", text)
    text = re.sub(r"(?<=[a-z]\d)[._/-]+(?=\d)", "|", text)
    return re.sub(r"[._/-]+", "", text)


def _unique(
    left: object, right: object, key: Callable[[Node], Hashable]
) -> list[tuple[Node, Node]]:
    sides = []
    for nodes in (left, right):
        table: dict[Hashable, list[Node]] = defaultdict(list)
        for node in list(nodes):  # type: ignore[call-overload]
            table[key(node)].append(node)
        sides.append(table)
    ours, theirs = sides
    return [
        (nodes[0], theirs[k][0])
        for k, nodes in ours.items()
        if len(nodes) == 1 and len(theirs.get(k, [])) == 1
    ]


def _signature(node: Node) -> Hashable:
    call = node.call(INFERENCE)
    if node.kind == "batch_norm":
        return ("batch_norm", None if call is None else call.shape[1:2])
    out = None if node.sums is None else node.sums.shape[1]
    inside = None if node.kernel is None else node.kernel.shape[1:]
    return ("weighted", out, inside)


def _alike_input(a: Node, b: Node) -> bool:
    one, other = a.call(INFERENCE), b.call(INFERENCE)
    if one is None or other is None or one.x.shape != other.x.shape:
        return False
    if one.shape != other.shape or _kind(a) != _kind(b):
        return False
    if _kind(a) == "weighted" and _signature(a) != _signature(b):
        return False
    size = float(np.abs(one.x).max(initial=0.0))
    return bool(np.abs(one.x.astype(np.float64) - other.x).max(initial=0.0) <= 1e-3 * size)


def _alike_values(a: Node, b: Node) -> bool:
    if _kind(a) != _kind(b) or _signature(a) != _signature(b):
        return False
    if _kind(a) == "weighted":
        return a.kernel is not None and b.kernel is not None and same(a.kernel, b.kernel, 1e-5)
    one, other = a.call(INFERENCE), b.call(INFERENCE)
    if one is None or other is None:
        return False
    roles = {"gamma", "beta", "running_mean", "running_var"}
    shared = roles & set(one.before) & set(other.before)
    telling = any(np.ptp(one.before[r]) > 0 for r in shared)
    return telling and all(same(one.before[r], other.before[r]) for r in shared)


def _matching(
    left: Sequence[Node], right: Sequence[Node], alike: Callable[[Node, Node], bool]
) -> list[tuple[Node, Node]]:
    """Pairs of which each fits the other and nobody else."""
    fits = {id(a): [b for b in right if alike(a, b)] for a in left}
    taken: dict[int, int] = defaultdict(int)
    for options in fits.values():
        for b in options:
            taken[id(b)] += 1
    return [
        (a, fits[id(a)][0])
        for a in left
        if len(fits[id(a)]) == 1 and taken[id(fits[id(a)][0])] == 1
    ]
