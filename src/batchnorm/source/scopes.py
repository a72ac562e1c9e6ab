"""Scopes and what they bind: modules, classes, functions and comprehensions.

Not here: what a bound name stands for (`names`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from batchnorm.source.known import unpacked

__all__ = ["Binder", "Binding", "Scope"]


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

    @cached_property
    def imports(self) -> list[tuple[str, list[Binding]]]:
        """The names that absolute imports bind, and nothing else; once all is bound."""
        return [
            (name, bound)
            for name, bound in self.bindings.items()
            if all(b.kind == "import" and not b.level for b in bound)
        ]

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


class Binder(ast.NodeVisitor):
    """Fills the scopes; every Name and every node that opens a scope gets the scope it is in."""

    def __init__(self, tree: ast.Module) -> None:
        self.stars: list[ast.ImportFrom] = []
        self.scopes: dict[ast.AST, Scope] = {}
        self.scope = self.module = Scope(tree, None)
        for statement in tree.body:
            self.visit(statement)

    def visit(self, node: ast.AST) -> None:
        self.scopes[node] = self.scope
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
                self.stars.append(node)
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
            self.scopes[node.target] = self.scope

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        self._target(node.target, node, node.value)

    def _target(self, target: ast.expr, node: ast.AST, value: ast.expr) -> None:
        if not isinstance(target, ast.Name):
            pairs = unpacked(target, value)
            for each, given in pairs:
                self._target(each, node, given)
            if pairs:
                self.scopes[target] = self.scope
            else:
                self.visit(target)
            return
        self.scopes[target] = self.scope
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


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
