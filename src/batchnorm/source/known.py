"""What is known at one point of a file: which names and attributes are layers, lists or nets.

Not here: the walk through a file (`objects`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from batchnorm.source.symbols import Symbol

__all__ = ["NETS", "Environment", "Thing", "assigned", "joined", "key", "merged", "unpacked",
           "without"]  # fmt: skip

NETS = ("torch.nn.", "mindspore.nn.", "keras.", "tf_keras.", "tensorflow.keras.", "keras_core.")
"""How the paths of the frameworks' own layers and nets begin."""


@dataclass(frozen=True)
class Thing:
    """What an expression is known to be.

    Attributes:
        kind: a batch-norm layer, a collection of such, or a net (whose class may be ours to see).
        symbols: the batch-norm classes that it may be of.
        calls: the calls that made it, where they are known; empty for a guard or an annotation.
        only: whether it is nothing else; False after isinstance of several classes.
        net: the class of a net, where the file defines it.
    """

    kind: Literal["layer", "list", "net"]
    symbols: frozenset[Symbol] = frozenset()
    calls: tuple[ast.Call, ...] = ()
    only: bool = True
    net: ast.ClassDef | None = None


Environment: TypeAlias = dict[str, Thing]
"""A name, or attributes of one, as text -> what it is known to be."""


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


def without(env: Environment, keys: Iterable[str]) -> Environment:
    """What is still known when something else has been assigned to names or attributes."""
    if not env:
        return {}
    gone = set(keys)
    return {
        place: thing
        for place, thing in env.items()
        if not any(place == each or place.startswith(each + ".") for each in gone)
    }


def assigned(node: ast.AST, *, body: bool = True) -> Iterator[str]:
    """The names and attributes that a node assigns to; without `body`, only those of a `with`."""
    parts = ast.walk(node) if body else (n for i in node.items for n in ast.walk(i))  # type: ignore[attr-defined]
    for part in parts:
        if isinstance(getattr(part, "ctx", None), ast.Store | ast.Del):
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
    for other in found[1:]:
        if other is None or other.kind != first.kind or other.net is not first.net:
            return None
        symbols |= other.symbols
        calls |= dict.fromkeys(other.calls)
    only = all(thing is not None and thing.only for thing in found)
    return replace(first, symbols=frozenset(symbols), calls=tuple(calls), only=only)


def merged(ends: list[Environment]) -> Environment | None:
    """What is known after several branches: what all that end agree on."""
    if not ends:
        return None
    places = set(ends[0]).intersection(*ends[1:])
    both = {place: joined([end[place] for end in ends]) for place in places}
    return {place: thing for place, thing in both.items() if thing is not None}
