"""What a finding's place becomes: edits, and whether they are the one right answer.

Not here: which findings have one (`rules`), and how a file gets them (`fixes`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from batchnorm.lint.linted import Linted
from batchnorm.source import Edit
from batchnorm.source.arguments import Arguments

__all__ = ["Fix", "argued", "inverted", "line_before", "put", "renamed"]


@dataclass(frozen=True)
class Fix:
    """Edits of one file's text.

    Attributes:
        edits: that don't overlap.
        safe: whether this is the only right answer; else it is the likeliest.
    """

    edits: tuple[Edit, ...]
    safe: bool = True


def put(file: Linted, pairs: Iterable[tuple[ast.AST, str]], *, safe: bool = True) -> Fix | None:
    """Other text in place of nodes; nothing where Python doesn't know a node's exact place."""
    pairs = list(pairs)
    if not pairs or not all(_exact(file, node) for node, _ in pairs):
        return None
    return Fix(tuple(Edit(*file.source.span(node), text) for node, text in pairs), safe)


def renamed(
    file: Linted, pairs: Iterable[tuple[ast.Attribute, str]], *, safe: bool = True
) -> Fix | None:
    """Other names in place of attributes' own; what they are of stays as it is written."""
    pairs = list(pairs)
    if not pairs or not all(_exact(file, node) for node, _ in pairs):
        return None
    edits = []
    for node, name in pairs:
        end, old = file.source.span(node)[1], node.attr.encode()
        if file.source.data[end - len(old) : end] != old:
            return None  # in letters of another width, which mean the same
        edits.append(Edit(end - len(old), end, name))
    return Fix(tuple(edits), safe)


def argued(
    file: Linted,
    call: ast.Call,
    *,
    added: Iterable[str] = (),
    dropped: Iterable[ast.expr] = (),
    safe: bool = True,
) -> Fix | None:
    """Further arguments of a call, and fewer; laid out like those that stay."""
    if not _exact(file, call):
        return None
    text, callee = file.source.text(call), len(file.source.text(call.func))
    listed, gone = Arguments(text, callee), set(dropped)
    parts: list[ast.expr | ast.keyword] = [*call.args, *call.keywords]
    parts.sort(key=file.source.span)
    for item, part in zip(listed.items, parts, strict=True):
        if part in gone or (isinstance(part, ast.keyword) and part.value in gone):
            item.new = ""
    after = text[:callee] + listed.written(list(added))
    same = next((i for i, (a, b) in enumerate(zip(text, after, strict=False)) if a != b), 0)
    rest = 0  # what both end with
    while rest < min(len(text), len(after)) - same and text[-rest - 1] == after[-rest - 1]:
        rest += 1
    start, _ = file.source.span(call)
    first = start + len(text[:same].encode())
    last = start + len(text[: len(text) - rest].encode())
    return Fix((Edit(first, last, after[same : len(after) - rest]),), safe)


def line_before(file: Linted, node: ast.AST, text: str) -> Fix | None:
    """A statement before that of a node; never the one right answer."""
    if not _exact(file, node):
        return None
    statement = file.source.statement(node)
    start, _ = file.source.span(statement)
    indent = file.source.data[file.source.line_start(statement.lineno) : start].decode()
    if not indent.strip():
        return Fix((Edit(start, start, f"{text}{file.source.newline}{indent}"),), safe=False)
    simple = not hasattr(statement, "body")
    return Fix((Edit(start, start, f"{text}; "),), safe=False) if simple else None


def inverted(value: Decimal) -> str:
    """One minus a number as it is written; empty where 28 digits can't say it."""
    other = 1 - value
    return f"{other:f}" if 0 < other < 1 and 1 - other == value else ""


def _exact(file: Linted, node: ast.AST) -> bool:
    """Whether a node's place is known: Python 3.11 doesn't know those inside of an f-string."""
    return not any(isinstance(outer, ast.JoinedStr) for outer in file.source.around(node))
