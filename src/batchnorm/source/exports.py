"""What another file of the same folder tree gives under a name that a relative import takes.

It is parsed, and never imported. Not here: what the path means (`symbols`).
"""

from __future__ import annotations

import ast
from functools import lru_cache
from pathlib import Path

__all__ = ["DEEPEST", "exported"]

DEEPEST = 8
"""Aliases of aliases, and files that import from files, are followed this far."""


def exported(path: Path | None, level: int, dotted: str, depth: int) -> tuple[str, ...]:
    """What another file of the same folder tree gives under a name; none if unknown."""
    if path is None or depth > DEEPEST:
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
        found += exported(file, level, path, depth) if level else [path]
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
