"""The layers that a class registers as its children: `self.add_module("bn", …)`, and their order.

Not here: what the layers are (`objects`).
"""

from __future__ import annotations

import ast

from batchnorm.source.known import Thing
from batchnorm.source.names import Names
from batchnorm.source.symbols import NETS

__all__ = ["assignment", "in_order", "other_layer"]

_REGISTER = {"add_module", "register_module", "insert_child_to_cell"}
_CHILDREN = {"children", "cells"}
_BY_NAME = {"_modules", "_cells"}


def assignment(node: ast.stmt) -> ast.Assign | None:
    """`self.bn = layer` for `self.add_module("bn", layer)`; None for any other statement."""
    match node:
        case ast.Expr(
            value=ast.Call(
                func=ast.Attribute(value=ast.Name(id="self") as owner, attr=method),
                args=[ast.Constant(value=str(name)), layer],
                keywords=[],
            )
        ) if method in _REGISTER and name.isidentifier():
            target = ast.Attribute(owner, name, ast.Store())
            return ast.copy_location(ast.Assign([ast.copy_location(target, node)], layer), node)
    return None


def in_order(node: ast.expr, owner: ast.ClassDef | None, names: Names) -> ast.Tuple | None:
    """`(self.conv, self.bn)` for `self.children()` or `self._modules.values()`, if it's sure."""
    match node:
        case ast.Call(func=ast.Attribute(value=of, attr=method), args=[], keywords=[]):
            if method == "values" and isinstance(of, ast.Attribute) and of.attr in _BY_NAME:
                of = of.value
            elif method not in _CHILDREN:
                return None
        case _:
            return None
    if owner is None or not isinstance(of, ast.Name) or of.id != "self":
        return None
    found = _children(owner, names)
    return ast.Tuple([ast.Attribute(of, name, ast.Load()) for name in found], ast.Load())


def other_layer(node: ast.expr | None, names: Names) -> Thing | None:
    """What an attribute is beside a batch norm, where it is another of a framework's layers."""
    if not isinstance(node, ast.Call) or not _is_layer(node, names):
        return None
    return Thing("layer", only=False, others=frozenset(names.paths(node.func)))


def _children(owner: ast.ClassDef, names: Names) -> list[str]:
    """The names of the children in order; none where a child may be there or not, or anew."""
    found: list[str] = []
    straight: set[ast.AST] = set()
    if not all(
        path.startswith(NETS) for base in owner.bases for path in names.paths(base) or ("",)
    ):
        return []
    for function in owner.body:
        if not isinstance(function, ast.FunctionDef) or function.name != "__init__":
            continue
        for statement in function.body:
            given = assignment(statement) or statement
            if isinstance(given, ast.Assign) and _sets(given):
                straight.add(statement)
                if _is_layer(given.value, names):
                    found.append(given.targets[0].attr)  # type: ignore[attr-defined]
                elif not isinstance(given.value, ast.Constant):
                    return []  # it may be one
    others = (n for n in ast.walk(owner) if isinstance(n, ast.stmt) and n not in straight)
    unsure = any(_sets(each) or assignment(each) or _fills(each) for each in others)
    return [] if unsure or len(set(found)) < len(found) else found


def _sets(node: ast.stmt) -> bool:
    """Whether a statement gives the object an attribute, by itself."""
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return any(
        isinstance(part, ast.Attribute) and getattr(part.value, "id", "") == "self"
        for target in targets
        if target is not None
        for part in ast.walk(target)
        if isinstance(getattr(part, "ctx", None), ast.Store)
    )


def _fills(node: ast.stmt) -> bool:
    """Whether a statement may register children in another way."""
    match node:
        case ast.Expr(value=ast.Call(func=ast.Attribute(attr=method) as func, args=args)):
            of_super = isinstance(func.value, ast.Call) and method == "__init__"
            return bool(method in (*_REGISTER, "append", "extend") or (of_super and args))
        case ast.Expr(value=ast.Call(func=ast.Name(id="setattr"))):
            return True
    return False


def _is_layer(node: ast.expr, names: Names) -> bool:
    """Whether an expression makes a layer of a framework."""
    paths = names.paths(node.func) if isinstance(node, ast.Call) else ()
    return bool(paths) and all(path.startswith(NETS) for path in paths)
