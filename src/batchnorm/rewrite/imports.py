"""How the target's classes are spelled at a place, and which imports that takes.

What the file imports already is used; else an import is added beside the one that it replaces.
Not here: imports that have lost their last use (`unused`), and the names of the
source (`source.names`).
"""

from __future__ import annotations

import ast

from batchnorm.frameworks import Framework
from batchnorm.source import Edit, Names, Source, keras_module

__all__ = ["Imports"]


class Imports:
    """The imports of one file, while it is rewritten.

    Args:
        names: what its names mean.
        to: the dialect that is written.
        keras: which Keras `keras` is for the source.
        freed: names whose imports will be removed, so that they can be bound anew.
    """

    def __init__(
        self, names: Names, to: Framework, keras: str | None, freed: frozenset[str]
    ) -> None:
        self.names, self.to, self.keras, self.freed = names, to, keras, freed
        self.blocked: set[str] = set()
        """Short names that would have been used, but mean something else in the file."""
        self._wanted: dict[str, list[ast.stmt | None]] = {}
        """Statement -> the imports beside which it is wanted."""
        self._given: dict[str, str] = {}  # name -> statement that we add
        scopes = {id(scope): scope for scope in names.scopes.values()}
        self._bound = {name for scope in scopes.values() for name in scope.bindings}
        self._bound |= set(names.module.bindings)

    def module(self, at: ast.expr) -> str:
        """What stands before the dot and the class at a place."""
        if not self.to.is_keras:
            return self.spelled(at, self._base)
        for name, path in self._visible(at):
            rest = self._keras_rest(path)
            if rest in ("", ".layers"):
                if rest == ".layers":
                    return name
                return f"{name if keras_module(path) else f'{name}.keras'}.layers"
        return f"{self.package(at)}.layers"

    def spelled(self, at: ast.expr, path: str) -> str:
        """A path of the target as it is written at a place."""
        for name, known in self._visible(at):
            if path == known or path.startswith(f"{known}."):
                return name + path[len(known) :]
        if "." not in path:  # a package that has the classes itself
            return self._import(at, path, f"import {path}", path, "")
        package, first, *others = path.split(".")
        inside = "".join(f".{part}" for part in others)
        statement = f"from {package} import {first}"
        return self._import(at, first, statement, package, f".{first}") + inside

    @property
    def _base(self) -> str:
        """The path of the module that has the classes."""
        return self.to.layer.rpartition(".")[0]

    def direct(self, at: ast.expr, class_name: str) -> str | None:
        """The name under which the class itself is imported, if it is."""
        for name, path in self._visible(at):
            if path == f"{self._base}.{class_name}" and not self.to.is_keras:
                return name
            if self.to.is_keras and self._keras_rest(path) == f".layers.{class_name}":
                return name
        return None

    def package(self, at: ast.expr) -> str:
        """The name of the package at a place: torch, mindspore, keras."""
        package = self.to.real_package if not self.to.is_keras else self.to.framework
        for name, path in self._visible(at):
            if path == package and not self.to.is_keras:
                return name
            if self.to.is_keras and self._keras_rest(path) == "":
                return name if keras_module(path) else f"{name}.keras"
        return self._import(at, package, f"import {package}", package, "")

    def functools(self, at: ast.expr) -> str:
        """The name of functools.partial at a place."""
        for name, path in self._visible(at):
            if path in ("functools.partial", "functools"):
                return name if path.endswith("partial") else f"{name}.partial"
        return self._import(at, "partial", "from functools import partial", "functools", ".partial")

    def edits(self) -> list[Edit]:
        """The edits that add imports."""
        source = self.names.source
        lines: dict[ast.stmt | None, list[str]] = {}
        for statement, anchors in self._wanted.items():
            for anchor in self._first(anchors):
                place = _last_import(source) if anchor is None else anchor
                lines.setdefault(place, []).append(statement)
        return [_after(source, anchor, texts) for anchor, texts in lines.items()]

    def _first(self, anchors: list[ast.stmt | None]) -> list[ast.stmt | None]:
        """The places in each scope: the first that always runs, or all, which are in branches."""
        scopes: dict[int, list[ast.stmt | None]] = {}
        for anchor in anchors:
            scope = self.names.module if anchor is None else self.names.scope_at(anchor)
            scopes.setdefault(id(scope), []).append(anchor)
        top = scopes.get(id(self.names.module))
        if top is not None:  # which the others see as well
            scopes = {0: top}

        def inside(anchor: ast.stmt | None) -> bool:
            outer = None if anchor is None else self.names.source.parents[anchor]
            return isinstance(outer, ast.Try | ast.ExceptHandler | ast.If)

        places: list[ast.stmt | None] = []
        for found in scopes.values():
            always = [anchor for anchor in found if not inside(anchor)]
            places += always[:1] or found
        return places

    def _visible(self, at: ast.expr) -> list[tuple[str, str]]:
        found = []
        for name, paths, binding in self.names.visible(at):
            if len(set(paths)) == 1 and name not in self.freed and _runs(self.names, binding.node):
                found.append((name, paths[0]))
        return found

    def _keras_rest(self, path: str) -> str | None:
        """The part of a path inside the target's Keras; "" for TensorFlow, which holds Keras 2."""
        found = keras_module(path, self.keras)
        if found is not None:
            return found[1] if found[0] == self.to.framework else None
        room = self.to.room("source")
        holds = path == room.HOLDER and room.inside(f"{path}.keras", self.keras) == ""
        return "" if holds else None

    def _import(self, at: ast.expr, name: str, statement: str, package: str, rest: str) -> str:
        spelled = name
        if not self._free(name, statement):
            self.blocked.add(name)
            name, statement = package, f"import {package}"
            second = self.to.room("source").SECOND_NAME if name == self.to.real_package else ""
            while not self._free(name, statement):
                name, second = second or f"{name}_", ""
                statement = f"import {package} as {name}"
            spelled = name + rest
        self._given[name] = statement
        anchors = self._wanted.setdefault(statement, [])
        anchors += [anchor for anchor in self._anchors(at) if anchor not in anchors]
        return spelled

    def _free(self, name: str, statement: str) -> bool:
        if name in self._given:
            return self._given[name] == statement
        return name not in self._bound or name in self.freed

    def _anchors(self, node: ast.expr) -> list[ast.stmt | None]:
        """The imports that give the source's name at a place: several in branches."""
        for _ in range(8):
            root = node
            while isinstance(root, ast.Attribute):
                root = root.value
            bound = self.names.bindings(root) if isinstance(root, ast.Name) else []
            if not bound:
                break
            imports = [b.node for b in bound if b.kind == "import" and _runs(self.names, b.node)]
            if imports:
                return [node for node in imports if isinstance(node, ast.stmt)]
            if bound[0].value is None:
                break
            node = bound[0].value
        return [self.names.stars[0] if self.names.stars else None]


def _runs(names: Names, node: ast.AST) -> bool:
    """Whether an import is executed: not one under `if TYPE_CHECKING`."""
    for outer in names.source.around(node):
        if isinstance(outer, ast.If) and "TYPE_CHECKING" in ast.dump(outer.test):
            return False
    return True


def _last_import(source: Source) -> ast.stmt | None:
    body = source.tree.body
    found = [s for s in body if isinstance(s, ast.Import | ast.ImportFrom)]
    if found:
        return found[-1]
    first = body[0] if body else None
    is_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return first if is_text else None


def _after(source: Source, anchor: ast.stmt | None, lines: list[str]) -> Edit:
    """The edit that adds statements after another, on lines of their own where it has one."""
    end = source.newline
    if anchor is None:
        return Edit(0, 0, "".join(line + end for line in lines))
    start, stop = source.span(anchor)
    last = anchor.end_lineno or anchor.lineno
    before = source.data[source.line_start(anchor.lineno) : start]
    rest = source.line(last).encode()[stop - source.line_start(last) :].strip()
    if before.strip() or (rest and not rest.startswith(b"#")):
        return Edit(stop, stop, "".join(f"; {line}" for line in lines))
    place = source.line_start(last) + len(source.line(last).encode())
    indent = before.decode()
    return Edit(place, place, "".join(f"{end}{indent}{line}" for line in lines))
