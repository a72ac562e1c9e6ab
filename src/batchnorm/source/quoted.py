"""Annotations written as strings, read as the expressions that they quote.

`bn: "nn.BatchNorm2d"` means what it means without the quotes, and an edit of it stands between
them. Not here: other strings that happen to hold code.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchnorm.source.text import Source

__all__ = ["unquote"]

_NOT_TYPES = {"Literal", "Annotated"}


def unquote(source: Source) -> None:
    """Put the expressions into the tree, each where it is written."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.AnnAssign | ast.arg) and node.annotation is not None:
            node.annotation = _read(source, node.annotation)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns is not None:
            node.returns = _read(source, node.returns)


def _read(source: Source, node: ast.expr) -> ast.expr:
    match node:
        case ast.Constant(value=str(quoted)) if "Norm" in quoted:
            return _inside(source, node, quoted) or node
        case ast.Subscript(value=ast.Name(id=name) | ast.Attribute(attr=name)):
            if name not in _NOT_TYPES:
                node.slice = _read(source, node.slice)
        case ast.Tuple() | ast.List():
            node.elts = [_read(source, element) for element in node.elts]
        case ast.BinOp():
            node.left, node.right = _read(source, node.left), _read(source, node.right)
    return node


def _inside(source: Source, node: ast.Constant, quoted: str) -> ast.expr | None:
    """What a plain string of one line quotes; None if it is another kind, or no expression."""
    if not quoted.isascii() or source.text(node)[1:-1] != quoted:
        return None
    try:
        found = ast.parse(quoted, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    for part in ast.walk(found):
        if isinstance(part, ast.expr | ast.keyword):
            part.lineno = part.end_lineno = node.lineno
            part.col_offset += node.col_offset + 1
            part.end_col_offset = (part.end_col_offset or 0) + node.col_offset + 1
    return found
