"""Findings that have one right answer, and a file's bytes once it is written there.

A momentum (BN001) is one where its literal stands in the call of the layer itself, so that nothing
else reads it: one minus the number, in decimal. A constant or a helper's argument may be meant for
others as well, and stays. Not here: what is found (`rules`), and how a file is replaced
(`batchnorm.source.write`).
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from batchnorm.lint.finding import Finding
from batchnorm.lint.linted import Linted
from batchnorm.lint.number import number
from batchnorm.source import NOTEBOOK, Edit, Notebook, SourceError, apply

__all__ = ["FIXES", "Fixed", "fixed"]


def _inverted(file: Linted, node: ast.Constant) -> str | None:
    """What to write in place of a momentum."""
    call = file.source.parents.get(node)
    if isinstance(call, ast.keyword):
        call = file.source.parents[call]
    if not isinstance(call, ast.Call):
        return None
    own = any(s.node is call and s.layer is None and s.momentum is node for s in file.sites)
    symbol = file.names.symbol(call.func)
    found = number(node, file.names)
    if found is None or not (own or (symbol is not None and symbol.kind == "function")):
        return None
    other = 1 - found.value
    exact = 0 < other < 1 and 1 - other == found.value  # as far as 28 digits go
    return f"{other:f}" if exact else None


FIXES: Mapping[str, Callable[[Linted, ast.Constant], str | None]] = {"BN001": _inverted}
"""Rule -> what to write in place of the literal that it found; None where it is not for us."""


@dataclass(frozen=True)
class Fixed:
    """A file with its fixes.

    Attributes:
        before, after: its bytes.
        left: the findings that stay, where they are afterwards.
        count: how many are fixed.
    """

    before: bytes
    after: bytes
    left: tuple[Finding, ...]
    count: int


def fixed(data: bytes, findings: Iterable[Finding], path: Path) -> Fixed:
    """Fix what can be of one file's findings.

    Args:
        data: the file's bytes.
        findings: of this file only.
        path: where it is.

    Raises:
        SourceError: its lines are no longer those of the findings.
    """
    notebook = Notebook(data) if path.suffix == NOTEBOOK else None
    file = Linted(path, data if notebook is None else notebook.code)
    literals = {
        _place(file, node, notebook): node for node in file.nodes if isinstance(node, ast.Constant)
    }
    edits, left, moved = [], [], []
    for each in findings:
        node = literals.get((each.cell, each.line, each.column))
        if each.rule in FIXES and node is not None:
            if file.source.line(node.lineno) != each.text:
                raise SourceError("has changed since it was linted: run the command again")
            text = FIXES[each.rule](file, node)
            if text is not None:
                start, end = file.source.span(node)
                edits.append(Edit(start, end, text))
                moved.append((each, len(text) - (each.last_column - each.column)))
                continue
        left.append(each)
    after = apply(file.source.data, edits)
    whole = file.source.encoded(after) if notebook is None else notebook.with_code(after)
    return Fixed(data, whole if edits else data, tuple(_moved(left, moved)), len(edits))


def _place(file: Linted, node: ast.Constant, notebook: Notebook | None) -> tuple[int, int, int]:
    line, column = file.place(node)
    cell, line = (0, line) if notebook is None else notebook.place(line)
    return cell, line, column


def _moved(left: Iterable[Finding], by: Iterable[tuple[Finding, int]]) -> Iterable[Finding]:
    """Findings in the line of a fix, as many columns further as the line has grown before them."""
    by = list(by)
    for each in left:
        fixes = [(fix.line, fix.column, more) for fix, more in by if fix.cell == each.cell]
        yield replace(
            each,
            column=each.column
            + sum(m for line, c, m in fixes if line == each.line and c < each.column),
            last_column=each.last_column
            + sum(m for line, c, m in fixes if line == each.last_line and c < each.last_column),
        )
