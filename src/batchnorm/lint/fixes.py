"""Findings that have one right answer, and a file's bytes once it is written there.

A momentum (BN001) is one where its literal stands in the call of the layer itself, so that nothing
else reads it: one minus the number, in decimal. A constant or a helper's argument may be meant for
others as well, and stays. A default of the port's source (BN003) is written out. Not here: what is
found (`rules`), and how a file is replaced (`batchnorm.source.write`).
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeAlias

from batchnorm.lint.finding import Finding
from batchnorm.lint.linted import Linted
from batchnorm.lint.number import number
from batchnorm.lint.rules.ported_defaults import missing
from batchnorm.lint.site import Site
from batchnorm.source import NOTEBOOK, Edit, Notebook, SourceError, apply, parse_text

__all__ = ["FIXES", "Fixed", "fixed"]


_Sites: TypeAlias = Mapping[ast.AST, Site]  # by their calls, those by helpers aside


def _inverted(file: Linted, node: ast.expr, sites: _Sites) -> Edit | None:
    """One minus a momentum."""
    call = file.source.parents.get(node)
    if isinstance(call, ast.keyword):
        call = file.source.parents[call]
    if not isinstance(node, ast.Constant) or not isinstance(call, ast.Call):
        return None
    own = call in sites and sites[call].momentum is node
    symbol = file.names.symbol(call.func)
    found = number(node, file.names)
    if found is None or not (own or (symbol is not None and symbol.kind == "function")):
        return None
    other = 1 - found.value
    exact = 0 < other < 1 and 1 - other == found.value  # as far as 28 digits go
    return Edit(*file.source.span(node), f"{other:f}") if exact else None


def _written_out(file: Linted, node: ast.expr, sites: _Sites) -> Edit | None:
    """The original's defaults as further arguments of a call."""
    arguments = missing(file, sites[node]) if node in sites else []
    if not arguments:
        return None
    start, end = file.source.span(node)
    text = ", ".join(arguments)
    place, last = _last_token(file.source.data[start : end - 1].decode())
    before, after = {"(": ("", ""), ",": (" ", ",")}.get(last, (", ", ""))
    return Edit(start + place, start + place, f"{before}{text}{after}")


def _last_token(text: str) -> tuple[int, str]:
    """The last token of a call without its closing parenthesis, and the byte where it ends."""
    readable = re.sub("\r(?!\n)", "\n", text)  # tokenize doesn't end lines at the first
    lines = list(io.StringIO(f"{readable})", newline=""))
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENDMARKER}
    tokens = tokenize.generate_tokens(iter([*lines, ""]).__next__)
    last = [token for token in tokens if token.type not in skipped][-2]  # then the parenthesis
    line, column = last.end
    return len("".join([*lines[: line - 1], lines[line - 1][:column]]).encode()), last.string


FIXES: Mapping[str, Callable[[Linted, ast.expr, _Sites], Edit | None]] = {
    "BN001": _inverted,
    "BN003": _written_out,
}
"""Rule -> the edit for what it found; None where there isn't one right answer."""


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


def fixed(
    data: bytes, findings: Iterable[Finding], path: Path, ported_from: str | None = None
) -> Fixed:
    """Fix what can be of one file's findings.

    Args:
        data: the file's bytes.
        findings: of this file only.
        path: where it is.
        ported_from: as `Settings` has it.

    Raises:
        SourceError: its lines are no longer those of the findings.
    """
    notebook = Notebook(data) if path.suffix == NOTEBOOK else None
    file = Linted(path, data if notebook is None else notebook.code, ported_from)
    lines = _lines(file, notebook)
    nodes = {
        (*file.place(node), *file.end(node)): node
        for node in file.nodes
        if isinstance(node, ast.Constant | ast.Call)
        and not any(isinstance(n, ast.JoinedStr) for n in file.source.around(node))
    }  # Python 3.11 doesn't know the places inside of an f-string
    sites: _Sites = {site.node: site for site in file.sites if site.layer is None}
    edits: list[Edit] = []
    left: list[Finding] = []
    moves: list[_Move] = []
    for each in findings:
        first, last = (lines.get((each.cell, n), 0) for n in (each.line, each.last_line))
        if file.source.line(first) != each.text:
            raise SourceError("has changed since it was linted: run the command again")
        node = nodes.get((first, each.column, last, each.last_column))
        fix = None if node is None else FIXES.get(each.rule)
        edit = None if fix is None or node is None else fix(file, node, sites)
        if edit is None:
            left.append(each)
            continue
        edits.append(edit)
        line = next(n for n in range(last, 0, -1) if file.source.line_start(n) <= edit.start)
        column = len(file.source.data[file.source.line_start(line) : edit.start].decode()) + 1
        grown = len(edit.text) - len(file.source.data[edit.start : edit.end].decode())
        moves.append(_Move(line - first + each.line, column, grown, each.cell))
    after = apply(file.source.data, edits)
    parse_text(after)  # what doesn't parse is never written
    whole = file.source.encoded(after) if notebook is None else notebook.with_code(after)
    return Fixed(data, whole if edits else data, tuple(_moved(left, moves)), len(edits))


def _lines(file: Linted, notebook: Notebook | None) -> dict[tuple[int, int], int]:
    """Cell and line, as findings have them, of each line of the text."""
    count = len(file.source.data.splitlines())
    if notebook is None:
        return {(0, number): number for number in range(1, count + 1)}
    return {notebook.place(n): n for n in range(1, count + 1)} if notebook.cells else {}


class _Move(NamedTuple):
    """How many columns further what follows a place in a line is."""

    line: int
    column: int
    more: int
    cell: int


def _moved(left: Iterable[Finding], moves: Iterable[_Move]) -> Iterator[Finding]:
    """Findings where they are once the lines have grown."""
    by_line: dict[tuple[int, int], list[_Move]] = {}
    for move in moves:
        by_line.setdefault((move.cell, move.line), []).append(move)

    def further(cell: int, line: int, column: int) -> int:
        before = (m.more for m in by_line.get((cell, line), ()) if m.column < column)
        return column + sum(before)

    for each in left:
        start = further(each.cell, each.line, each.column)
        end = further(each.cell, each.last_line, each.last_column)
        yield replace(each, column=start, last_column=end)
