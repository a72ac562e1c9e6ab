"""What another file of the same folder tree gives under a name that an import takes.

It is parsed, and never imported. A module of the tree is a path of its own, "@" and its file, and
`member` says what it holds. Not here: what the path means (`symbols`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from batchnorm.source.contents import contents
from batchnorm.source.symbols import PACKAGES

__all__ = ["DEEPEST", "exported", "member", "own_files", "plain"]

_OUTSIDE = ("os.", "typing.", "collections.", "numpy.")
"""How paths begin that are surely none of the tree's."""
_FARTHEST = 8  # folders up, where an absolute import may begin
DEEPEST = 8
"""Aliases of aliases, and files that import from files, are followed this far."""
_MODULE = "@"
_STARS = 4  # a file with more `from … import *` gathers a whole package


def exported(path: Path | None, level: int, dotted: str, depth: int) -> tuple[str, ...]:
    """What another file of the same folder tree gives under a name; none if unknown."""
    outside = not level and (dotted.partition(".")[0] in PACKAGES or dotted.startswith(_OUTSIDE))
    if path is None or depth > DEEPEST or outside:
        return ()
    folder = path.absolute().parent
    module, _, name = dotted.rpartition(".")
    for file in own_files(folder, module, level):
        if _is_file(file):
            found = _given_by(file, name, depth + 1)
            return found or _submodule(file, name)
    return _own_module(folder, dotted, level)


def member(path: str, name: str, depth: int) -> tuple[str, ...]:
    """What an attribute of a path is: what the file gives, where the path is a module's."""
    if not path.startswith(_MODULE) or not path.endswith(".py"):
        return (f"{path}.{name}",)
    file = Path(path.removeprefix(_MODULE))
    return _given_by(file, name, depth + 1) or _submodule(file, name) or (f"{path}.{name}",)


def plain(path: str) -> str:
    """A path as people read it: a module of the tree by its folder and file."""
    return "/".join(path.split("/")[-2:]) if path.startswith(_MODULE) else path


def own_files(folder: Path, module: str, level: int) -> Iterator[Path]:
    """Where the module of an import may stand in the tree around a folder."""
    roots = [folder, *folder.parents]
    roots = roots[level - 1 : level] if level else roots[:_FARTHEST]
    for root in roots:
        path = root.joinpath(*module.split(".")) if module else root
        if module:
            yield path.with_suffix(".py")
        yield path / "__init__.py"


def _own_module(folder: Path, dotted: str, level: int) -> tuple[str, ...]:
    """The module itself, where folders around it are no packages."""
    if "." not in dotted and not level:
        return ()  # a package of the same name may be installed
    found = (file for file in own_files(folder, dotted, level) if _is_file(file))
    return tuple(f"{_MODULE}{file}" for file in found)[:1]


def _submodule(file: Path, name: str) -> tuple[str, ...]:
    """A module beside the file that makes a folder a package."""
    if file.name != "__init__.py":
        return ()
    places = (file.parent / f"{name}.py", file.parent / name / "__init__.py")
    return tuple(f"{_MODULE}{place}" for place in places if _is_file(place))[:1]


@lru_cache(maxsize=65536)
def _is_file(path: Path) -> bool:
    return path.is_file()


@lru_cache(maxsize=4096)
def _given_by(file: Path, name: str, depth: int) -> tuple[str, ...]:
    if depth > DEEPEST:
        return ()
    found: list[str] = []
    known = _exports(file)
    said = known.get(name)
    if said == []:  # a class or function of its own
        return (f"{_MODULE}{file}.{name}",)
    if said is None:  # by `from … import *`, unless the file defines it
        stars = [(f"{path}.{name}", level) for path, level in known.get("*", ())]
        stars = [each for each in stars if each[1] or not each[0].startswith(_OUTSIDE)]
        said = stars if len(stars) <= _STARS else []
    for path, level in said:
        own = exported(file, level, path, depth) if level or "." in path else ()
        found += own or ([] if level else [path])
    return tuple(dict.fromkeys(found))


@lru_cache(maxsize=4096)
def _exports(file: Path) -> dict[str, list[tuple[str, int]]]:
    """What the names that a file imports or assigns at its top are: paths, and the dots before."""
    found: dict[str, list[tuple[str, int]]] = {}
    try:
        pending: list[ast.AST] = [*ast.parse(contents(file)).body]
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
                if alias.name == "*":
                    path = node.module or ""
                found.setdefault(alias.asname or alias.name, []).append((path, node.level))
        elif isinstance(node, ast.Assign):
            nothing = isinstance(node.value, ast.Constant) and node.value.value is None
            value = [] if nothing else _aliased(node.value, found) or [("?", 0)]
            for target in node.targets:
                if isinstance(target, ast.Name):
                    found.setdefault(target.id, []).extend(value)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = []
    return found


def _aliased(node: ast.expr, known: dict[str, list[tuple[str, int]]]) -> list[tuple[str, int]]:
    """What `layers = keras.layers` gives."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.insert(0, node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return []
    return [(".".join([path, *parts]), level) for path, level in known.get(node.id, [])]
