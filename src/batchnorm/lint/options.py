"""Which default an option of a command line has: `add_argument("--bn-momentum", default=0.1)`.

Options of argparse, flags and click; the parser may stand in another file of the tree, from which
`args` or the parser comes, or, where `args` is only handed on, beside the file. Not here: which
numbers these expressions are (`number`).
"""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from pathlib import Path

from batchnorm.source import Names, SourceError, contents, parse_source
from batchnorm.source.tree import Definition, definition

__all__ = ["option", "option_of"]

_PARSED = re.compile(
    r"(?i)^_?(args?|argv|opts?|options?|flags?|params?|hparams?|cfg|conf|config)_?$"
)
_LONG = re.compile(r"^--(\w[\w-]*)$")
_WORTH = re.compile(rb"add_argument\([^)]{0,200}--[\w-]{0,40}(?:momentum|eps|decay)")
_MANY = 200  # files of a folder that are looked into for parsers


def option(node: ast.Attribute, names: Names) -> Definition | None:
    """The default of the only option that `args.name` can be, and the file that says it."""
    of = node.value
    name = of.attr if isinstance(of, ast.Attribute) else getattr(of, "id", "")
    made = names.value(of)
    parsed = isinstance(made, ast.Call) and getattr(made.func, "attr", "") == "parse_args"
    if not parsed and not _PARSED.match(name):
        return None
    own = _options(names).get(node.attr)
    if own is None:
        by = _source(of, names)
        path = names.path.absolute() if by is None and names.path and _handed(of, names) else None
        others = (by,) if path is None else _beside(path)
        held = [each for each in others if each is not None and node.attr in _options(each)]
        if len(held) != 1:
            return None
        names, own = held[0], _options(held[0])[node.attr]
    return Definition(names, own[0]) if len(own) == 1 and own[0] is not None else None


def _source(of: ast.expr, names: Names) -> Names | None:
    """The other file from which `args`, its parser or the function that gives it comes."""
    made = names.value(of)
    for each in (of, made, getattr(made, "func", None)):
        while isinstance(each, ast.Attribute) and each.attr in ("parse_args", "parse_known_args"):
            each = names.value(each.value)
            each = each.func if isinstance(each, ast.Call) else each
        found = None if each is None else definition(each, names, settings=True)
        if found is not None and found.names is not names:
            return found.names
    return None


def _handed(of: ast.expr, names: Names) -> bool:
    """Whether it is a parameter, or an attribute that was given one."""
    bound = names.bindings(of) if isinstance(of, ast.Name) else []
    return isinstance(of, ast.Attribute) or any(isinstance(b.node, ast.arg) for b in bound)


def _beside(path: Path) -> list[Names]:
    """The files with such options in a file's folder, and in the one around its package."""
    package = path.parent
    while (package / "__init__.py").is_file():
        package = package.parent
    files = [f for each in dict.fromkeys((path.parent, package)) for f in _python_files(each)]
    return [found for file in files if file != path and (found := _parser(file)) is not None]


@lru_cache(maxsize=256)
def _python_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.py"))[:_MANY]


@lru_cache(maxsize=4096)
def _parser(file: Path) -> Names | None:
    """The names of a file that has such options."""
    try:
        data = contents(file)
        return Names(parse_source(data), file) if _WORTH.search(data) else None
    except (OSError, SourceError, RecursionError):
        return None


def option_of(parameter: ast.AST, names: Names) -> ast.expr | None:
    """The default that `@click.option("--momentum", default=0.1)` gives a parameter."""
    function = names.source.parents[names.source.parents[parameter]]
    for decorator in getattr(function, "decorator_list", []):
        if isinstance(decorator, ast.Call) and getattr(decorator.func, "attr", "") == "option":
            found = _defined(decorator)
            if found is not None and found[0] == getattr(parameter, "arg", ""):
                return found[1]
    return None


@lru_cache(maxsize=8)
def _options(names: Names) -> dict[str, list[ast.expr | None]]:
    """Destination -> the defaults that options of the file give it."""
    found: dict[str, list[ast.expr | None]] = {}
    for node in ast.walk(names.source.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name, said = node.func.attr, None
            if name == "add_argument":
                said = _defined(node)
            elif name.startswith("DEFINE_") and len(node.args) > 1:
                first = node.args[0]
                said = (getattr(first, "value", ""), node.args[1])
            if said is not None:
                found.setdefault(str(said[0]), []).append(said[1])
    return found


def _defined(call: ast.Call) -> tuple[str, ast.expr | None] | None:
    """The destination and the default of `add_argument("--name", default=…)`."""
    keywords = {k.arg: k.value for k in call.keywords}
    texts = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    said = keywords.get("dest")
    long = next((m[1] for text in texts if (m := _LONG.match(text))), None)
    name = said.value if isinstance(said, ast.Constant) else long
    return None if name is None else (str(name).replace("-", "_"), keywords.get("default"))
