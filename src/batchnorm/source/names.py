"""Which dotted path an expression stands for: `N.BatchNorm2d` after `from torch import nn as N`.

Scopes, imports of any form, aliases by assignment, star imports of layers, and names that a
relative import takes from another file of the same folder tree. Nothing is imported or evaluated;
what can't be told has no path. Not here: what binds names (`scopes`), what a path
means (`symbols`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from batchnorm.frameworks import find
from batchnorm.source.exports import DEEPEST, exported, member
from batchnorm.source.scopes import Binder, Binding, Scope
from batchnorm.source.symbols import CLASSES, Symbol, symbol_at
from batchnorm.source.text import Source

__all__ = ["Names"]


class Names:
    """What the names in one file mean.

    Args:
        source: the file's source.
        path: where it is, for relative imports; None where that isn't known.
        keras: which Keras `keras` is; see `symbol_at`.
    """

    def __init__(self, source: Source, path: Path | None = None, keras: str | None = None) -> None:
        self.source, self.path, self.keras = source, path, keras
        binder = Binder(source.tree)
        self._only_read: dict[tuple[str, int], bool] = {}
        self._given: dict[ast.ClassDef, dict[str, list[ast.expr | None]]] = {}
        self.stars, self.scopes, self.module = binder.stars, binder.scopes, binder.module

    def paths(self, node: ast.expr, depth: int = 0) -> tuple[str, ...]:
        """The dotted paths that an expression may stand for; none where that can't be told."""
        if depth > DEEPEST:
            return ()
        if isinstance(node, ast.Attribute):
            bases = self.paths(node.value, depth + 1)
            return tuple(path for base in bases for path in member(base, node.attr, depth))
        if not isinstance(node, ast.Name):
            return ()
        here = self.scopes.get(node)
        scope = None if here is None else here.find(node.id)
        if scope is None:
            starred = (p for star in self.stars for p in self._starred(star, node.id, depth))
            return tuple(starred)[:1]
        candidates: list[str] = []
        for binding in scope.bindings[node.id]:
            if binding.kind == "import" and not binding.level:
                own = "." in binding.path
                said = exported(self.path, 0, binding.path, depth) if own else ()
                candidates += said or [binding.path]
            elif binding.kind == "import":
                candidates += exported(self.path, binding.level, binding.path, depth)
            elif binding.kind == "assign" and binding.value is not None:
                if isinstance(binding.value, ast.Constant) and binding.value.value is None:
                    continue  # `nn = None` after a failed import
                found_here = self.paths(binding.value, depth + 1)
                if not found_here:
                    return ()
                candidates += found_here
            else:
                return ()
        return tuple(dict.fromkeys(candidates))

    def _starred(self, star: ast.ImportFrom, name: str, depth: int) -> tuple[str, ...]:
        """What `from … import *` gives under a name, as far as that is known."""
        path = f"{star.module}.{name}" if star.module else name
        given = exported(self.path, star.level, path, depth)
        ours = not star.level and symbol_at(path, self.keras) is not None
        return given or ((path,) if ours else ())

    def symbol(self, node: ast.expr) -> Symbol | None:
        """What a Name or Attribute denotes, if it is a batch norm and all its paths agree."""
        if not isinstance(node, ast.Name | ast.Attribute):
            return None
        found = [symbol_at(path, self.keras) for path in self.paths(node)]
        first = found[0] if found else None
        if first is None:
            return None
        # Code that takes tf_keras or else keras takes both for Keras 2.
        first = next((s for s in found if s is not None and find(s.framework).lineage), first)
        same = (first.framework, find(first.framework).lineage)
        agree = all(o is not None and o.name == first.name and o.framework in same for o in found)
        return first if agree else None

    def unknown(self, node: ast.expr) -> bool:
        """Whether an expression is named like a batch norm, and can't be told to be or not be one.

        A class that this file or its folder defines is another thing, and so known.
        """
        last = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
        if last not in CLASSES or self.symbol(node) is not None:
            return False
        root: ast.expr = node
        while isinstance(root, ast.Attribute):
            root = root.value
        if not isinstance(root, ast.Name):
            return False
        bound = self.bindings(root)
        if not bound:
            return isinstance(node, ast.Name) and bool(self.stars)
        paths = self.paths(node)
        if not paths:
            defined = any(isinstance(b.node, ast.ClassDef | ast.FunctionDef) for b in bound)
            return root is not node and not defined
        return len({symbol_at(path, self.keras) for path in paths}) > 1

    def bindings(self, name: ast.Name) -> list[Binding]:
        """All bindings of what a name means at its place."""
        here = self.scopes.get(name)
        scope = None if here is None else here.find(name.id)
        return [] if scope is None else scope.bindings[name.id]

    @cached_property
    def uses(self) -> dict[str, list[ast.Name]]:
        """Name -> the places of the file that read it, in whatever scope."""
        found: dict[str, list[ast.Name]] = {}
        for node in ast.walk(self.source.tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                found.setdefault(node.id, []).append(node)
        return found

    def given(self, owner: ast.ClassDef) -> dict[str, list[ast.expr | None]]:
        """What a class gives its attributes, in its body and by `self.name = …`; None: unsure."""
        if owner not in self._given:
            said = _attributes(owner).items()
            self._given[owner] = {name: [self._default(v) for v in values] for name, values in said}
        return self._given[owner]

    def _default(self, value: ast.expr | None) -> ast.expr | None:
        """What a field of a dataclass is unless it is given, as `field(default=0.1)` says it."""
        if not isinstance(value, ast.Call) or not _FIELDS & set(self.paths(value.func)):
            return value
        keywords = {k.arg: k.value for k in value.keywords}
        made = keywords.get("default_factory", keywords.get("factory"))
        if isinstance(made, ast.Lambda):
            return made.body
        if made is not None:
            return ast.copy_location(ast.Call(made, [], []), made)
        return keywords.get("default", value.args[0] if value.args else None)

    def only_read(self, name: ast.Name) -> bool:
        """Whether a list or dictionary is nowhere changed, nor given to what may change it."""
        scope = self.scope_at(name).find(name.id)
        if (name.id, id(scope)) not in self._only_read:
            own = (u for u in self.uses.get(name.id, []) if self.scope_at(u).find(u.id) is scope)
            self._only_read[name.id, id(scope)] = all(_reads(self.source, use) for use in own)
        return self._only_read[name.id, id(scope)]

    def same_at(self, node: ast.expr, place: ast.expr) -> bool:
        """Whether an expression says the same at another place: constants, and names bound once."""
        for part in ast.walk(node):
            if isinstance(part, ast.Name):
                bound, scope = self.bindings(part), self.scopes.get(part)
                there = self.scope_at(place).find(part.id)
                if len(bound) != 1 or scope is None or scope.find(part.id) is not there:
                    return False
            elif isinstance(part, ast.Attribute):
                if not self.paths(part):
                    return False
            elif isinstance(part, ast.Call | ast.NamedExpr | ast.Lambda | ast.Await):
                return False
        return True

    def value(self, node: ast.expr) -> ast.expr:
        """What a name is assigned, if it is assigned once and nothing else; else the node."""
        for _ in range(DEEPEST):
            if not isinstance(node, ast.Name):
                return node
            bound = self.bindings(node)
            if len(bound) != 1 or bound[0].kind != "assign" or bound[0].value is None:
                return node
            node = bound[0].value
        return node

    def visible(self, at: ast.AST) -> Iterator[tuple[str, tuple[str, ...], Binding]]:
        """The names that imports give at a place: name, paths, binding; the nearest first."""
        scope: Scope | None = self.scope_at(at)
        nearer: list[Scope] = []
        while scope is not None:
            if not nearer or not isinstance(scope.node, ast.ClassDef):
                for name, bound in scope.imports:
                    if not any(name in each.bindings for each in nearer):
                        yield name, tuple(b.path for b in bound), bound[0]
                nearer.append(scope)
            scope = scope.parent

    def scope_at(self, node: ast.AST) -> Scope:
        """The scope in which a node is evaluated."""
        while node not in self.scopes and node in self.source.parents:
            node = self.source.parents[node]
        return self.scopes.get(node, self.module)


_FIELDS = {"dataclasses.field", "attr.ib", "attr.field", "attrs.field", "pydantic.Field"}


def _attributes(owner: ast.ClassDef) -> dict[str, list[ast.expr | None]]:
    found: dict[str, list[ast.expr | None]] = {}
    for statement in owner.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            if statement.value is not None:
                found.setdefault(statement.target.id, []).append(statement.value)
        elif isinstance(statement, ast.Assign):
            for target in statement.targets:
                if isinstance(target, ast.Name):
                    found.setdefault(target.id, []).append(statement.value)
    plain: dict[ast.expr, ast.expr] = {}
    for node in ast.walk(owner):
        if isinstance(node, ast.Assign):
            plain |= dict.fromkeys(node.targets, node.value)
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            plain[node.target] = node.value
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            of = node.value.id if isinstance(node.value, ast.Name) else ""
            if of in ("self", "cls"):
                found.setdefault(node.attr, []).append(plain.get(node))
    return found


_READING = {"get", "items", "keys", "values", "copy", "index", "count"}
_COPYING = {"dict", "list", "tuple", "len", "sorted", "print", "set"}


def _reads(source: Source, use: ast.Name) -> bool:
    """Whether a use of a list or dictionary leaves it as it is: a copy, an entry, a test."""
    parent = source.parents[use]
    match parent:
        case ast.Starred() | ast.keyword(arg=None) | ast.Compare() | ast.Dict():
            return True
        case ast.Subscript(ctx=ast.Load(), value=of):
            return of is use
        case ast.Attribute(attr=attr):
            return attr in _READING
        case ast.Call(func=ast.Name(id=name)):
            return name in _COPYING and parent.func is not use
        case ast.If() | ast.IfExp():
            return parent.test is use
    return False
