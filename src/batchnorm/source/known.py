"""What is known at one point of a file: which names and attributes are layers, lists or nets.

Not here: the walk through a file (`objects`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from batchnorm.source.symbols import Symbol

__all__ = [
    "Environment",
    "Thing",
    "assigned",
    "columns",
    "joined",
    "key",
    "merged",
    "unpacked",
]


@dataclass(frozen=True)
class Thing:
    """What an expression is known to be.

    Attributes:
        kind: a batch-norm layer, a collection of such, or a net (whose class may be ours to see).
        symbols: the batch-norm classes that it may be of.
        calls: the calls that made it, where they are known; empty for a guard or an annotation.
        only: whether it is nothing else; False after isinstance of several classes.
        others: paths of the classes that it may be of beside, where all of them are known.
        net: the class of a net, where the file defines it.
    """

    kind: Literal["layer", "list", "net"]
    symbols: frozenset[Symbol] = frozenset()
    calls: tuple[ast.Call, ...] = ()
    only: bool = True
    others: frozenset[str] = frozenset()
    net: ast.ClassDef | None = None


class Environment:
    """A name, or attributes of one, as text -> what it is known to be.

    Kept by the name before the first dot, so that what one statement changes costs what hangs on
    its own names, and copies are shallow.
    """

    __slots__ = ("_roots",)

    def __init__(self, roots: Mapping[str, Mapping[str, Thing]] | None = None) -> None:
        self._roots: dict[str, Mapping[str, Thing]] = dict(roots or {})

    def copy(self) -> Environment:
        """Another one that knows the same."""
        return Environment(self._roots)

    def get(self, place: str) -> Thing | None:
        """What a place is known to be."""
        return self._roots.get(place.partition(".")[0], _NOTHING).get(place)

    def put(self, place: str, thing: Thing) -> None:
        """Know a place from now on."""
        root = place.partition(".")[0]
        self._roots[root] = {**self._roots.get(root, _NOTHING), place: thing}

    def plus(self, place: str, thing: Thing) -> Environment:
        """Another one that knows a place as well."""
        found = self.copy()
        found.put(place, thing)
        return found

    def become(self, place: str, thing: Thing | None) -> None:
        """Know something else of a place from now on, or nothing."""
        self._roots = self.without([place])._roots
        if thing is not None:
            self.put(place, thing)

    def without(self, places: Iterable[str]) -> Environment:
        """Another one, after something else has been assigned to names or attributes."""
        found = self.copy()
        for each in places:
            root = each.partition(".")[0]
            known = found._roots.get(root)
            if known is None:
                continue
            inside = each + "."
            kept = {p: t for p, t in known.items() if p != each and not p.startswith(inside)}
            if kept:
                found._roots[root] = kept
            else:
                del found._roots[root]
        return found

    @staticmethod
    def shared(ends: list[Environment]) -> Environment:
        """What is known after several branches: what all that end agree on."""
        first, rest = ends[0], ends[1:]
        found = Environment()
        for root, known in first._roots.items():
            others = [end._roots.get(root, _NOTHING) for end in rest]
            if all(other is known for other in others):
                found._roots[root] = known
                continue
            both = {p: joined([t, *(other.get(p) for other in others)]) for p, t in known.items()}
            kept = {place: thing for place, thing in both.items() if thing is not None}
            if kept:
                found._roots[root] = kept
        return found


_NOTHING: Mapping[str, Thing] = {}


def key(node: ast.expr) -> str:
    """A name, or attributes of a name, as text; empty for any other expression."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = key(node.value)
        return f"{base}.{node.attr}" if base else ""
    return ""


def unpacked(target: ast.expr, value: ast.expr) -> list[tuple[ast.expr, ast.expr]]:
    """The parts of `a, b = 1, 2`, in pairs; none where they can't be told apart."""
    sides = [s.elts for s in (target, value) if isinstance(s, ast.Tuple | ast.List)]
    if len(sides) != 2 or len(sides[0]) != len(sides[1]):
        return []
    if any(isinstance(part, ast.Starred) for side in sides for part in side):
        return []
    return list(zip(*sides, strict=True))


def columns(target: ast.expr, over: ast.expr) -> list[tuple[ast.expr, ast.expr]]:
    """What each variable of `for a, b in ((1, 2), (3, 4))` goes over."""
    rows = over.elts if isinstance(over, ast.Tuple | ast.List) else []
    cells = [unpacked(target, row) for row in rows]
    if not cells or not all(cells):
        return []
    of = [ast.Tuple([row[i][1] for row in cells], ast.Load()) for i in range(len(cells[0]))]
    return [(each, column) for (each, _), column in zip(cells[0], of, strict=True)]


def assigned(node: ast.AST, *, body: bool = True, inline: bool = True) -> Iterator[str]:
    """The names and attributes that a node assigns to.

    Without `body` only those of a `with`, without `inline` none by `:=`.
    """
    parts = ast.walk(node) if body else (n for i in node.items for n in ast.walk(i))  # type: ignore[attr-defined]
    passed = set()
    for part in parts:
        if isinstance(part, ast.NamedExpr) and not inline:
            passed.add(part.target)
        elif isinstance(getattr(part, "ctx", None), ast.Store | ast.Del) and part not in passed:
            place = key(part)  # type: ignore[arg-type]
            if place:
                yield place


def joined(things: Iterable[Thing | None]) -> Thing | None:
    """One thing that is any of several; None where one of them isn't known."""
    found = list(things)
    first = found[0] if found else None
    if first is None:
        return None
    symbols, calls = set(first.symbols), dict.fromkeys(first.calls)
    others = set(first.others)
    for other in found[1:]:
        if other is None or other.kind != first.kind or other.net is not first.net:
            return None
        symbols |= other.symbols
        calls |= dict.fromkeys(other.calls)
        others |= other.others
    only = all(thing is not None and thing.only for thing in found)
    known = all(t is not None and (t.only or t.others) for t in found)
    return replace(
        first,
        symbols=frozenset(symbols),
        calls=tuple(calls),
        only=only,
        others=frozenset(others if known else ()),
    )


def merged(ends: list[Environment]) -> Environment | None:
    """What is known after several branches: what all that end agree on."""
    return Environment.shared(ends) if ends else None
