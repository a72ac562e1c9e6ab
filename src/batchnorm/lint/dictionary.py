"""What a call is given by `**settings`: a dictionary's entries, and what is put into it before.

`dict(a=1)`, `{"a": 1}`, copies of them, `kwargs.setdefault("momentum", 0.1)`,
`kwargs["momentum"] = 0.1`, an attribute that a class gives once. Not here: entries that are read by
their keys (`configured`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache

from batchnorm.source import Names
from batchnorm.source.tree import definition

__all__ = ["starred"]

_Put = tuple[str, ast.expr | None, bool]
"""A key, what is put there (None: unsure), and whether only where nothing is."""


def starred(node: ast.expr, names: Names) -> tuple[dict[str, ast.expr], bool]:
    """The entries that `**node` gives, and whether these are all of them."""
    entries = _literal(_value(node, names), names)
    found, complete = dict(entries or {}), entries is not None
    for key, value, default in _put(node, names):
        if default and key in found:
            continue
        if value is None:
            complete = False
            found.pop(key, None)
        else:
            found[key] = value
    return found, complete


def _put(node: ast.expr, names: Names) -> Iterator[_Put]:
    """What the function around puts into a dictionary before a place; a key that it puts once."""
    if not isinstance(node, ast.Name):
        return
    scope = names.scope_at(node)
    if scope.find(node.id) is not scope:
        return  # whoever changes it outside may do so later
    every: dict[str, list[_Put]] = {}
    for line, put in _changes_of(node.id, names).get(id(scope), ()):
        if line < node.lineno:
            every.setdefault(put[0], []).append(put)
    for key, puts in every.items():
        yield puts[0] if len(puts) == 1 else (key, None, False)


@lru_cache(maxsize=64)
def _changes_of(name: str, names: Names) -> dict[int, list[tuple[int, _Put]]]:
    """What the uses of a name put into a dictionary, with their lines, by scope."""
    found: dict[int, list[tuple[int, _Put]]] = {}
    for use in names.uses.get(name, []):
        puts = found.setdefault(id(names.scope_at(use)), [])
        puts += [(use.lineno, each) for each in _changes(use, names)]
    return found


def _changes(use: ast.Name, names: Names) -> Iterator[_Put]:
    """What one use of a dictionary puts into it."""
    parent = names.source.parents[use]
    outer = names.source.parents[parent]
    match parent:
        case ast.Subscript(slice=ast.Constant(value=str(key)), value=of) if of is use:
            if isinstance(parent.ctx, ast.Load):
                return
            plain = isinstance(outer, ast.Assign) and parent in outer.targets
            yield key, outer.value if plain and isinstance(outer, ast.Assign) else None, False
        case ast.Attribute(attr="setdefault"):
            match outer:
                case ast.Call(args=[ast.Constant(value=str(key)), value]):
                    yield key, value, True
        case ast.Attribute(attr="pop"):
            match outer:
                case ast.Call(args=[ast.Constant(value=str(key)), *_]):
                    yield key, None, False
        case ast.Attribute(attr="update") if isinstance(outer, ast.Call):
            for pairs in (*outer.args, *(ast.Dict([ast.Constant(k.arg)], [k.value])
                                         for k in outer.keywords if k.arg)):  # fmt: skip
                for key, value in (_literal(pairs, names) or {}).items():
                    yield key, value, False


def _value(node: ast.expr, names: Names) -> ast.expr:
    """What a name is, or an attribute that its class gives once."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        found = definition(node.value, names)
        owner = None if found is None else found.node
        if node.value.id in ("self", "cls"):
            around = names.source.around(node)
            owner = next((n for n in around if isinstance(n, ast.ClassDef)), None)
        if isinstance(owner, ast.ClassDef) and (found is None or found.names is names):
            said = names.given(owner).get(node.attr, [])
            return said[0] if len(said) == 1 and said[0] is not None else node
    return names.value(node)


def _literal(node: ast.expr, names: Names) -> dict[str, ast.expr] | None:
    """The entries of `dict(a=1)` or `{"a": 1}`, also of copies; None for anything else."""
    pairs: list[tuple[ast.expr | str | None, ast.expr]] = []
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
        pairs = [(None, a) for a in node.args] + [(k.arg, k.value) for k in node.keywords]
    elif isinstance(node, ast.Dict):
        pairs = [
            (k.value if isinstance(k, ast.Constant) and isinstance(k.value, str) else k, v)
            for k, v in zip(node.keys, node.values, strict=True)
        ]
    else:
        return None
    found: dict[str, ast.expr] = {}
    for key, value in pairs:
        copied = _literal(names.value(value), names) if key is None else None
        if isinstance(key, str):
            found[key] = value
        elif copied is not None:
            found |= copied
        else:
            return None
    return found
