"""What a rule finds, where, and what a whole run of the linter gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from batchnorm.printable import first_lines, html_table

__all__ = ["Finding", "Problem", "Report"]


@dataclass(frozen=True, order=True)
class Finding:
    """One thing that a rule found.

    Attributes:
        path: the file.
        line: the line that it is about, counted from 1.
        column: the column, counted from 1 in characters.
        rule: the rule's id, BN001.
        message: what is there, what it does, and what to write instead.
        last_line, last_column: where the thing that it is about ends, the column after its last
            character; a `noqa` may stand in that line, too.
        cell: of a notebook, counted from 1, in which the lines are counted; 0 in other files.
        text: the line; findings don't differ by it.
        fix: "safe" where there is one right answer, which `--fix` writes; "unsafe" where there is a
            likely one; else empty.
    """

    path: Path
    line: int
    column: int
    rule: str
    message: str
    last_line: int
    last_column: int = 0
    cell: int = 0
    text: str = field(default="", compare=False)
    fix: str = field(default="", compare=False)

    @property
    def place(self) -> str:
        """Path, cell, line and column, as editors take them."""
        cell = f"cell {self.cell}:" if self.cell else ""
        return f"{self.path}:{cell}{self.line}:{self.column}"

    @property
    def placed_message(self) -> str:
        """The message, with the place in front where that isn't a line of the file."""
        return f"cell {self.cell}, line {self.line}: {self.message}" if self.cell else self.message


@dataclass(frozen=True)
class Problem:
    """A file that can't be linted, and why."""

    path: Path
    message: str


@dataclass(repr=False)
class Report:
    """What a run found.

    Attributes:
        findings: in the order of files and lines.
        problems: the files that could not be read or parsed.
        files: how many files were looked into.
        others: how many Python files were not, since nothing in them is about batch norms.
        special: what is named like a Python file and is none: path and kind.
        suppressed: how many findings `noqa` comments took away.
        known: how many findings a baseline took away.
        fixed: how many findings are no more, as the file was changed.
    """

    findings: list[Finding] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    files: int = 0
    others: int = 0
    special: list[tuple[Path, str]] = field(default_factory=list)
    suppressed: int = 0
    known: int = 0
    fixed: int = 0

    def to_json(self) -> str:
        """All of it as JSON text."""
        from batchnorm.lint.formats import FORMATS, Style

        return "".join(FORMATS["json"](self, Style()))

    def __repr__(self) -> str:
        from batchnorm.lint.formats import FORMATS, Style

        *lines, last = FORMATS["text"](self, Style())
        return first_lines(lines, last)

    def _repr_html_(self) -> str:
        from batchnorm.lint.formats import FORMATS, Style

        *_, last = FORMATS["text"](self, Style(statistics=True))
        rows = [(each.place, each.rule, each.message, each.fix) for each in self.findings]
        return html_table(("place", "rule", "message", "fix"), rows, last)
