"""What another file of the same folder tree gives under a name that an import takes.

It is parsed, and never imported. Not here: what the path means (`symbols`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

__all__ = ["DEEPEST", "OUTSIDE", "exported", "own_files"]

OUTSIDE = ("os.", "typing.", "collections.", "numpy.")
"""How paths begin that are surely none of the tree's."""
_FARTHEST = 8  # folders up, where an absolute import may begin
DEEPEST = 8
"""Aliases of aliases, and files that import from files, are followed this far."""


def exported(path: Path | None, level: int, dotted: str, depth: int) -> tuple[str, ...]:
    """What another file of the same folder tree gives under a name; none if unknown."""
    if path is None or depth > DEEPEST:
        return ()
    module, _, name = dotted.rpartition(".")
    for file in own_files(path.absolute().parent, module, level):
        if _is_file(file):
            return _given_by(file, name, depth + 1)
    return ()


def own_files(folder: Path, module: str, level: int) -> Iterator[Path]:
    """Where the module of an import may stand in the tree around a folder."""
    roots = [folder, *folder.parents]
    roots = roots[level - 1 : level] if level else roots[:_FARTHEST]
    for root in roots:
        path = root.joinpath(*module.split(".")) if module else root
        if module:
            yield path.with_suffix(".py")
        yield path / "__init__.py"


@lru_cache(maxsize=65536)
def _is_file(path: Path) -> bool:
    return path.is_file()


@lru_cache(maxsize=4096)
def _given_by(file: Path, name: str, depth: int) -> tuple[str, ...]:
    found: list[str] = []
    for path, level in _exports(file).get(name, ()):
        own = exported(file, level, path, depth) if level or "." in path else ()
        found += own or ([] if level else [path])
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
