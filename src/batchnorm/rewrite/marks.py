"""Comments that say why a place was left, or what is still to be done there.

A mark stands on lines of its own before the statement. One that is there already isn't written
again, so that rewriting twice changes nothing more.
"""

from __future__ import annotations

import ast
import textwrap

from batchnorm.rewrite.job import Job
from batchnorm.source import Edit, Source

__all__ = ["HEAD", "line_for", "mark", "marks_of"]

HEAD = "# batchnorm: "
_WIDTH = 99


def mark(source: Source, line: int, reasons: list[str]) -> Edit | None:
    """The edit that puts reasons before a line; None where all are there."""
    start = source.line_start(line)
    there = _marks_above(source, line)
    text = source.line(line)
    indent = text[: len(text) - len(text.lstrip())]
    lines: list[str] = []
    for reason in dict.fromkeys(reasons):
        block = _block(reason, len(indent.expandtabs(8)))
        if " ".join(block) not in there:
            lines += block
    if not lines:
        return None
    end = source.newline
    return Edit(start, start, "".join(f"{indent}{each}{end}" for each in lines))


def line_for(source: Source, node: ast.AST) -> int:
    """The line before which a node's marks stand: that on which its statement's line begins."""
    statement: ast.AST = source.statement(node)
    while True:
        decorators = getattr(statement, "decorator_list", [])
        line = int(min([statement.lineno, *(d.lineno for d in decorators)]))  # type: ignore[attr-defined]
        before = source.data[source.line_start(line) : source.span(statement)[0]]
        if decorators or not before.strip():
            return line
        outer = source.parents.get(statement)
        same = getattr(outer, "lineno", None)
        if isinstance(outer, ast.stmt) and same is not None:
            statement = outer
            continue
        # `a; b` in one line: the line begins with another statement of the same block.
        return _statement_start(source, line)


def _statement_start(source: Source, line: int) -> int:
    """The line on which the first statement begins that reaches into a line."""
    starts = [
        node.lineno
        for node in ast.walk(source.tree)
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or node.lineno)
        and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.If
                           | ast.For | ast.While | ast.With | ast.Try)
    ]  # fmt: skip
    return min(starts, default=line)


def _block(reason: str, indent: int) -> list[str]:
    width = max(60, _WIDTH - indent)
    return textwrap.wrap(
        HEAD + reason,
        width,
        subsequent_indent="#     ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _marks_above(source: Source, line: int) -> str:
    """The comment lines right above a line, in one."""
    above: list[str] = []
    while line > 1 and source.line(line - 1).lstrip().startswith("#"):
        line -= 1
        above.insert(0, source.line(line).strip())
    return " ".join(above)


def marks_of(job: Job) -> list[Edit]:
    """One edit for each line with places that were left or need a hand."""
    reasons: dict[int, list[str]] = {}
    for site in job.sites:
        if site.reason and site.certain and site.node is not None:
            line = line_for(job.source, site.node)
            verb = "left as it was: " if site.left else ""
            reasons.setdefault(line, []).append(verb + site.reason)
    edits = [mark(job.source, line, texts) for line, texts in reasons.items()]
    return [edit for edit in edits if edit is not None]
