"""Where a settings object's number stands: namespaces and dictionaries.

`SimpleNamespace(momentum=0.1)`, `cfg["bn"]["momentum"]`, `_C.BN.MOMENTUM = 0.1`. Not here: options
of a command line (`options`), and which numbers these expressions are (`number`).
"""

from __future__ import annotations

import ast
from functools import lru_cache

from batchnorm.source import Names

__all__ = ["assigned", "entries", "keyword_of"]


def keyword_of(call: ast.Call, name: str) -> tuple[bool, ast.expr | None]:
    """Whether a call that makes a settings object may give an attribute, and what it surely is."""
    said = next((k.value for k in call.keywords if k.arg == name), None)
    return said is not None or bool(call.args) or any(k.arg is None for k in call.keywords), said


def entries(of: ast.expr, names: Names) -> dict[str, list[ast.expr]] | None:
    """The entries of a dictionary that is only read, also of one inside another."""
    if isinstance(of, ast.Subscript):
        outer = entries(of.value, names)
        key = of.slice.value if isinstance(of.slice, ast.Constant) else None
        inner = [] if outer is None else outer.get(str(key), [])
        return _pairs(inner[0]) if len(inner) == 1 else None
    if not isinstance(of, ast.Name) or not names.only_read(of):
        return None
    return _pairs(names.value(of))


def _pairs(node: ast.expr) -> dict[str, list[ast.expr]] | None:
    found: dict[str, list[ast.expr]] = {}
    if isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if not isinstance(key, ast.Constant):
                return None  # what is copied in may have any entry
            found.setdefault(str(key.value), []).append(value)
        return found
    if not isinstance(node, ast.Call) or getattr(node.func, "id", "") != "dict":
        return None
    if node.args or not all(k.arg for k in node.keywords):
        return None
    return {str(k.arg): [k.value] for k in node.keywords}


def assigned(node: ast.Attribute, names: Names) -> ast.expr | None:
    """What the file gives a path such as `_C.BN.MOMENTUM`, if it says so once, of one object."""
    root: ast.expr = node
    while isinstance(root, ast.Attribute):
        root = root.value
    bound = names.bindings(root) if isinstance(root, ast.Name) else []
    if len(bound) != 1 or not isinstance(bound[0].value, ast.Call):
        return None
    said = _paths(names).get(ast.unparse(node), [])
    return said[0] if len(said) == 1 else None


@lru_cache(maxsize=8)
def _paths(names: Names) -> dict[str, list[ast.expr]]:
    found: dict[str, list[ast.expr]] = {}
    for node in ast.walk(names.source.tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Attribute):
                    found.setdefault(ast.unparse(target), []).append(node.value)
    return found
