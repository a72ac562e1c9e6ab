"""Which dotted path an expression stands for: `N.BatchNorm2d` after `from torch import nn as N`.

Scopes, imports of any form, aliases by assignment, star imports of layers, and names that a
relative import takes from another file of the same folder tree. Nothing is imported or evaluated;
what can't be told has no path. Not here: what a path means (`symbols`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

from batchnorm.source.known import unpacked
from batchnorm.source.symbols import CLASSES, Symbol, symbol_at
from batchnorm.source.text import Source

__all__ = ["Binding", "Names", "Scope"]

_DEEPEST = 8  # aliases of aliases, and files that import from files
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass(frozen=True)
class Binding:
    """One place that binds a name.

    Attributes:
        kind: an import, an assignment of an expression, or anything else (a parameter, a class, a
            loop's variable).
        node: the statement or the node that binds.
        path: what is imported, absolute.
        level: the dots of a relative import, whose `path` is what follows them.
        value: what is assigned.
    """

    kind: Literal["import", "assign", "other"]
    node: ast.AST
    path: str = ""
    level: int = 0
    value: ast.expr | None = None


@dataclass
class Scope:
    """A module, class, function or comprehension, and what it binds."""

    node: ast.AST
    parent: Scope | None
    bindings: dict[str, list[Binding]] = field(default_factory=dict)
    outside: set[str] = field(default_factory=set)
    """Names that `global` or `nonlocal` hand on."""

    def bind(self, name: str, binding: Binding) -> None:
        """Note a binding where the name lives."""
        scope = self
        while name in scope.outside and scope.parent is not None:
            scope = scope.parent
        scope.bindings.setdefault(name, []).append(binding)

    def find(self, name: str) -> Scope | None:
        """The scope whose binding a use of the name here means."""
        scope: Scope | None = self
        while scope is not None:
            inner = scope is self or not isinstance(scope.node, ast.ClassDef)
            if inner and name in scope.bindings:
                return scope
            scope = scope.parent
        return None


class Names:
    """What the names in one file mean.

    Args:
        source: the file's source.
        path: where it is, for relative imports; None where that isn't known.
        keras: which Keras `keras` is; see `symbol_at`.
    """

    def __init__(self, source: Source, path: Path | None = None, keras: str | None = None) -> None:
        self.source, self.path, self.keras = source, path, keras
        self.stars: list[tuple[str, ast.ImportFrom]] = []
        self.scopes: dict[ast.AST, Scope] = {}
        self.module = Scope(source.tree, None)
        _Binder(self).run()

    def paths(self, node: ast.expr, depth: int = 0) -> tuple[str, ...]:
        """The dotted paths that an expression may stand for; none where that can't be told."""
        if depth > _DEEPEST:
            return ()
        if isinstance(node, ast.Attribute):
            return tuple(f"{base}.{node.attr}" for base in self.paths(node.value, depth + 1))
        if not isinstance(node, ast.Name):
            return ()
        here = self.scopes.get(node)
        scope = None if here is None else here.find(node.id)
        if scope is None:
            found = (f"{path}.{node.id}" for path, _ in self.stars)
            return tuple(path for path in found if symbol_at(path, self.keras) is not None)[:1]
        candidates: list[str] = []
        for binding in scope.bindings[node.id]:
            if binding.kind == "import" and not binding.level:
                candidates.append(binding.path)
            elif binding.kind == "import":
                candidates += _exported(self.path, binding.level, binding.path, depth)
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

    def symbol(self, node: ast.expr) -> Symbol | None:
        """What a Name or Attribute denotes, if it is a batch norm and all its paths agree."""
        if not isinstance(node, ast.Name | ast.Attribute):
            return None
        found = [symbol_at(path, self.keras) for path in self.paths(node)]
        first = found[0] if found else None
        if first is None:
            return None
        # Code that takes tf_keras or else keras takes both for Keras 2.
        older = next((s for s in found if s is not None and s.path.startswith("tf_keras.")), None)
        first = older or first
        for other in found:
            if other is None or other.name != first.name:
                return None
            doubtful = older is not None and other.path.startswith("keras.")
            if other.framework != first.framework and not doubtful:
                return None
        return first

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

    def value(self, node: ast.expr) -> ast.expr:
        """What a name is assigned, if it is assigned once and nothing else; else the node."""
        for _ in range(_DEEPEST):
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
        seen: set[str] = set()
        inner = True
        while scope is not None:
            if inner or not isinstance(scope.node, ast.ClassDef):
                for name, bound in scope.bindings.items():
                    if name not in seen and all(b.kind == "import" and not b.level for b in bound):
                        yield name, tuple(b.path for b in bound), bound[0]
                    seen.add(name)
            scope, inner = scope.parent, False

    def scope_at(self, node: ast.AST) -> Scope:
        """The scope in which a node is evaluated."""
        while node not in self.scopes and node in self.source.parents:
            node = self.source.parents[node]
        return self.scopes.get(node, self.module)


class _Binder(ast.NodeVisitor):
    """Fills the scopes; every Name and every node that opens a scope gets the scope it is in."""

    def __init__(self, names: Names) -> None:
        self.names, self.scope = names, names.module

    def run(self) -> None:
        # What `global` hands on must be known before the assignments are seen.
        for statement in self.names.source.tree.body:
            self.visit(statement)

    def visit(self, node: ast.AST) -> None:
        self.names.scopes[node] = self.scope
        super().visit(node)

    def _inside(self, node: ast.AST, body: list[ast.AST]) -> None:
        outer, self.scope = self.scope, Scope(node, self.scope)
        if isinstance(node, _FUNCTIONS):
            arguments = node.args
            every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
            for argument in (*every, arguments.vararg, arguments.kwarg):
                if argument is not None:
                    self.scope.bind(argument.arg, Binding("other", argument))
            for inner in _own_statements(node):
                if isinstance(inner, ast.Global | ast.Nonlocal):
                    self.scope.outside.update(inner.names)
        for child in body:
            self.visit(child)
        self.scope = outer

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.scope.bind(node.name, Binding("other", node))
        signature: list[ast.AST | None] = [*node.decorator_list, *node.args.defaults]
        signature += [*node.args.kw_defaults, node.returns]
        every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        for argument in (*every, node.args.vararg, node.args.kwarg):
            signature.append(None if argument is None else argument.annotation)
        for part in signature:
            if part is not None:
                self.visit(part)
        self._inside(node, list(node.body))

    visit_FunctionDef = visit_AsyncFunctionDef = _function

    def visit_Lambda(self, node: ast.Lambda) -> None:
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default is not None:
                self.visit(default)
        self._inside(node, [node.body])

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.scope.bind(node.name, Binding("other", node))
        for part in (*node.decorator_list, *node.bases, *node.keywords):
            self.visit(part)
        self._inside(node, list(node.body))

    def _comprehension(self, node: ast.AST) -> None:
        generators: list[ast.comprehension] = node.generators  # type: ignore[attr-defined]
        self.visit(generators[0].iter)
        body: list[ast.AST] = []
        for index, generator in enumerate(generators):
            body += [generator.target, *([generator.iter] if index else []), *generator.ifs]
        results = (getattr(node, name, None) for name in ("elt", "key", "value"))
        self._inside(node, [*body, *(result for result in results if result is not None)])

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            bound = alias.asname or alias.name.partition(".")[0]
            path = alias.name if alias.asname else bound
            self.scope.bind(bound, Binding("import", node, path))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            path = f"{node.module}.{alias.name}" if node.module else alias.name
            if alias.name == "*":
                if not node.level:
                    self.names.stars.append((node.module or "", node))
                continue
            self.scope.bind(alias.asname or alias.name, Binding("import", node, path, node.level))

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        for target in node.targets:
            self._target(target, node, node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.visit(node.annotation)
        if node.value is not None:
            self.visit(node.value)
            self._target(node.target, node, node.value)
        else:
            self.names.scopes[node.target] = self.scope

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        self._target(node.target, node, node.value)

    def _target(self, target: ast.expr, node: ast.AST, value: ast.expr) -> None:
        if not isinstance(target, ast.Name):
            pairs = unpacked(target, value)
            for each, given in pairs:
                self._target(each, node, given)
            if pairs:
                self.names.scopes[target] = self.scope
            else:
                self.visit(target)
            return
        self.names.scopes[target] = self.scope
        self.scope.bind(target.id, Binding("assign", node, value=value))

    def visit_Name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Load):
            self.scope.bind(node.id, Binding("other", node))

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self.scope.bind(node.name, Binding("other", node))
        self.generic_visit(node)


def _own_statements(function: ast.AST) -> Iterator[ast.AST]:
    """The statements of a function, not those of functions inside it."""
    pending = list(ast.iter_child_nodes(function))
    while pending:
        node = pending.pop()
        yield node
        if not isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            pending += ast.iter_child_nodes(node)


def _exported(path: Path | None, level: int, dotted: str, depth: int) -> tuple[str, ...]:
    """What another file of the same folder tree gives under a name; none if unknown."""
    if path is None or depth > _DEEPEST:
        return ()
    base = path.resolve().parent
    for _ in range(level - 1):
        base = base.parent
    *module, name = dotted.split(".")
    folder = base.joinpath(*module)
    for file in (folder.with_suffix(".py") if module else None, folder / "__init__.py"):
        if file is not None and file.is_file():
            return _given_by(file, name, depth + 1)
    return ()


@lru_cache(maxsize=4096)
def _given_by(file: Path, name: str, depth: int) -> tuple[str, ...]:
    found: list[str] = []
    for path, level in _exports(file).get(name, ()):
        found += _exported(file, level, path, depth) if level else [path]
    return tuple(dict.fromkeys(found))


@lru_cache(maxsize=256)
def _exports(file: Path) -> dict[str, list[tuple[str, int]]]:
    """The names that a file imports at its top: path, and the dots before it."""
    found: dict[str, list[tuple[str, int]]] = {}
    try:
        pending: list[ast.AST] = [*ast.parse(file.read_bytes()).body]
    except (SyntaxError, ValueError, RecursionError, OSError):
        return found
    while pending:
        node = pending.pop(0)
        if isinstance(node, ast.If | ast.Try | ast.ExceptHandler | ast.With):
            pending = [*ast.iter_child_nodes(node), *pending]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                bound = alias.asname or alias.name.partition(".")[0]
                found.setdefault(bound, []).append((alias.name if alias.asname else bound, 0))
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                path = f"{node.module}.{alias.name}" if node.module else alias.name
                found.setdefault(alias.asname or alias.name, []).append((path, node.level))
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.pop(node.name, None)
    return found
