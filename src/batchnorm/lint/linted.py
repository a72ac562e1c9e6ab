"""One file as rules see it: its names, its layers, the calls that make layers, and what it imports.

Not here: what is wrong with any of them (`rules`), and what names mean (`batchnorm.source`).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from batchnorm.errors import InvalidValue
from batchnorm.frameworks import find
from batchnorm.lint.makers import Makers
from batchnorm.lint.number import Number
from batchnorm.lint.site import Site, sites
from batchnorm.source import (
    Names,
    Objects,
    Source,
    SourceError,
    Thing,
    framework_at,
    parse_source,
)

__all__ = ["Function", "Linted"]

Function = ast.FunctionDef | ast.AsyncFunctionDef
_PORTED = re.compile(r"#\s*batchnorm:\s*ported-from[ =]+([\w@.]+)")


class Linted:
    """A parsed file.

    Args:
        path: where it is.
        data: its bytes.
        ported_from: the framework that all files are said to be ported from.

    Raises:
        SourceError: it does not parse.
    """

    def __init__(self, path: Path, data: bytes, ported_from: str | None = None) -> None:
        self.path = path
        self.source: Source = parse_source(data)
        self.names = Names(self.source, path)
        self._ported_from = ported_from

    @property
    def is_test(self) -> bool:
        """Whether it is a file of tests, by its name."""
        return self.path.stem.startswith("test_") or self.path.stem.endswith("_test")

    @cached_property
    def objects(self) -> Objects:
        """Which expressions are layers."""
        return Objects(self.names)

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """All nodes, in breadth-first order."""
        return list(ast.walk(self.source.tree))

    @cached_property
    def sites(self) -> list[Site]:
        """The calls that make batch-norm layers, partial ones and those by helpers included."""
        own = list(sites(self.nodes, self.names))
        known, makers = {site.node for site in own}, Makers(self.names)
        by_helpers = (
            site
            for node in self.nodes
            if isinstance(node, ast.Call) and node not in known
            for site in makers.sites(node)
        )
        return sorted([*own, *by_helpers], key=lambda site: self.place(site.node))

    @cached_property
    def frameworks(self) -> frozenset[str]:
        """The dialects whose packages the file imports, anywhere in it."""
        found = set()
        for node in self.nodes:
            if isinstance(node, ast.Import):
                found |= {framework_at(alias.name) for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                found |= {framework_at(f"{node.module}.{alias.name}") for alias in node.names}
        return frozenset(found - {""})

    @cached_property
    def ported_from(self) -> str | None:
        """The framework that this file is ported from: a comment in it says so, or the run does."""
        text = self.source.data.decode()
        found = _PORTED.search(text)
        if found is None:
            return self._ported_from
        try:
            return find(found[1]).name
        except InvalidValue as error:
            line = text.count("\n", 0, found.start()) + 1
            raise SourceError(f"line {line}: {error}") from None

    def layer(self, node: ast.expr) -> Thing | None:
        """What is known of an expression, if it is a batch-norm layer of one framework only."""
        thing = self.objects.thing(node)
        if thing is None or thing.kind != "layer" or not thing.only:
            return None
        frameworks = {symbol.framework for symbol in thing.symbols}
        plain = all(symbol.kind in ("class", "base") for symbol in thing.symbols)
        return thing if plain and len(frameworks) == 1 else None

    def framework(self, thing: Thing) -> str:
        """The dialect of a layer that `layer` gave."""
        return next(iter(thing.symbols)).framework

    def function(self, node: ast.AST) -> ast.AST:
        """The innermost function around a node, or the module."""
        for outer in self.source.around(node):
            if isinstance(outer, Function):
                return outer
        return self.source.tree

    def outermost(self, node: ast.AST) -> ast.AST:
        """The class or function at the module's top level that holds a node, or the module."""
        found: ast.AST = self.source.tree
        for outer in self.source.around(node):
            if isinstance(outer, Function | ast.ClassDef):
                found = outer
        return found

    def text(self, node: ast.AST) -> str:
        """A node as it is written, on one line."""
        return " ".join(self.source.text(node).split())

    def place(self, node: ast.AST) -> tuple[int, int]:
        """Line and column of a node, both counted from 1."""
        line, offset = node.lineno, node.col_offset  # type: ignore[attr-defined]
        return line, len(self.source.line(line).encode()[:offset].decode(errors="replace")) + 1

    def layer_of(self, site: Site, found: Number) -> str:
        """Where a site's layer is made, as text, if that isn't where its number stands."""
        path, line = site.layer or (self.path, self.place(site.node)[0])
        if path is not None and path != self.path:
            return f" in {path.name}, line {line}"
        return "" if self.place(found.node)[0] == line else f" in line {line}"

    def end(self, node: ast.AST) -> tuple[int, int]:
        """The line in which a node ends, and the column after it, both counted from 1."""
        line: int = getattr(node, "end_lineno", None) or node.lineno  # type: ignore[attr-defined]
        offset = getattr(node, "end_col_offset", None) or 0
        return line, len(self.source.line(line).encode()[:offset].decode(errors="replace")) + 1

    def calls(self, inside: ast.AST) -> Iterator[ast.Call]:
        """The calls below a node."""
        nodes = self.nodes if inside is self.source.tree else ast.walk(inside)
        return (node for node in nodes if isinstance(node, ast.Call))
