"""Imports that have lost their last use, and the text without them.

Not here: the imports that are added (`imports`).
"""

from __future__ import annotations

import ast

from batchnorm.source import Edit, Source, apply

__all__ = ["remove_unused", "unused_imports"]


def unused_imports(before: Source, after: Source) -> set[str]:
    """The names that imports of a file bind, that it used before and doesn't use any more."""
    used = [
        {node.id for node in ast.walk(source.tree) if isinstance(node, ast.Name)}
        for source in (before, after)
    ]
    texts = [
        node.value
        for node in ast.walk(after.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 200
    ]
    mentioned = {word for text in texts for word in text.replace(".", " ").split() if word}
    return (_imported(before) & used[0]) - used[1] - mentioned


def _imported(source: Source) -> set[str]:
    return {
        alias.asname or alias.name.partition(".")[0]
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }


def remove_unused(source: Source, names: set[str], keep: set[str]) -> bytes:
    """The text without the imports of some names; those whose path begins with `keep` stay."""
    edits: list[Edit] = []
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        parent = source.parents[node]
        if isinstance(parent, ast.Try | ast.ExceptHandler):
            continue
        module = "" if isinstance(node, ast.Import) else (node.module or "")
        gone = [
            (alias.asname or alias.name.partition(".")[0]) in names
            and (module or alias.name).partition(".")[0] not in keep
            and alias.name != "*"
            for alias in node.names
        ]
        if all(gone):
            edits.append(_without_statement(source, node, parent))
        elif any(gone):
            edits += _without_aliases(source, node, gone)
    left = apply(source.data, edits)
    return left if source.data[:1] in (b"\n", b"\r") else left.lstrip(b"\r\n")


def _without_statement(source: Source, node: ast.stmt, parent: ast.AST) -> Edit:
    start, stop = source.span(node)
    first, last = node.lineno, node.end_lineno or node.lineno
    before = source.data[source.line_start(first) : start].strip()
    line = source.line(last).encode()
    rest = line[stop - source.line_start(last) :].strip()
    blocks = [getattr(parent, name, None) for name in ("body", "orelse", "finalbody")]
    alone = any(isinstance(b, list) and b == [node] for b in blocks)
    if alone and not isinstance(parent, ast.Module):
        return Edit(start, stop, "pass")
    after = source.data[stop:]
    if after.lstrip(b" ").startswith(b";"):
        return Edit(start, stop + len(after) - len(after.lstrip(b" ")[1:].lstrip(b" ")), "")
    if before or (rest and not rest.startswith(b"#")):
        return Edit(start, stop, "pass")
    end = source.line_start(last) + len(line)
    for mark in (b"\r\n", b"\n", b"\r"):
        if source.data[end:].startswith(mark):
            end += len(mark)
            break
    return Edit(source.line_start(first), end, "")


def _without_aliases(
    source: Source, node: ast.Import | ast.ImportFrom, gone: list[bool]
) -> list[Edit]:
    spans = [source.span(alias) for alias in node.names]
    edits = []
    for index, goes in enumerate(gone):
        if not goes:
            continue
        if not all(gone[index:]):
            edits.append(Edit(spans[index][0], spans[index + 1][0], ""))
        else:
            edits.append(Edit(spans[index - 1][1], spans[-1][1], ""))
            break
    return edits
