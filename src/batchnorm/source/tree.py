"""What an import of another file of the same folder tree means: the definition that it leads to.

Absolute imports are looked for from the file's folder upwards, relative ones where they point.
Files are parsed, and never imported. Not here: what a framework's path means (`symbols`).
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from batchnorm.source.contents import contents
from batchnorm.source.exports import own_files
from batchnorm.source.names import Names
from batchnorm.source.scopes import Binding
from batchnorm.source.text import SourceError, parse_source

__all__ = ["Definition", "definition"]

DEEPEST = 4
_SMALL = 20_000  # bytes of a file of settings, which need not name what they are for
_WORTH = re.compile(rb"(?i)batch_?norm|momentum|eps")


@dataclass(frozen=True)
class Definition:
    """A function, a class, or an assigned expression, and the names of the file that it is in."""

    names: Names
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.expr


def definition(
    node: ast.expr, names: Names, depth: int = 0, *, settings: bool = False
) -> Definition | None:
    """What a name, or an attribute of an imported module, is defined as; None if it isn't sure.

    With `settings`, small files are looked into that name nothing of batch norms.
    """
    if isinstance(node, ast.Name):
        bound = names.bindings(node)
        return _bound(bound[0], names, depth, settings) if len(bound) == 1 else None
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        bound = names.bindings(node.value)
        if len(bound) == 1 and bound[0].kind == "import":
            return _imported(f"{bound[0].path}.{node.attr}", bound[0].level, names, depth, settings)
    return None


def _bound(binding: Binding, names: Names, depth: int, settings: bool) -> Definition | None:
    if isinstance(binding.node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return Definition(names, binding.node)
    if binding.kind == "import":
        return _imported(binding.path, binding.level, names, depth, settings)
    if binding.kind == "assign" and binding.value is not None:
        return Definition(names, binding.value)
    return None


def _imported(
    dotted: str, level: int, names: Names, depth: int, settings: bool
) -> Definition | None:
    module, _, name = dotted.rpartition(".")
    # A package's `from . import file` leads back to itself: names lead on a few times only.
    if depth > DEEPEST or names.path is None or (not module and not level):
        return None
    for path in own_files(names.path.absolute().parent, module, level):
        other = _names_of(path, settings)
        if other is not None:
            bound = other.module.bindings.get(name, [])
            return _bound(bound[0], other, depth + 1, settings) if len(bound) == 1 else None
    return None


@lru_cache(maxsize=512)
def _names_of(path: Path, settings: bool) -> Names | None:
    """The names of a file that may be about batch norms; None for another, or for none."""
    try:
        data = contents(path)
        small = (settings and len(data) < _SMALL) or path.name == "__init__.py"
        if not small and not _WORTH.search(data):
            return None
        return Names(parse_source(data), path)
    except (OSError, SourceError, RecursionError):
        return None
