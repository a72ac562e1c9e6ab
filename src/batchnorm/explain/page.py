"""A difference page as data: sections made of paragraphs, tables and code, each with an id.

Written once by `compose`, printed by one renderer per format. Text is a string in which backticks
mark code and `[label](target)` a link; a target that starts with `#` is an id of the same page. A
newline in a cell is a line of its own there.
Nothing here knows a framework, a language or a format.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

__all__ = [
    "Block",
    "Code",
    "Column",
    "Curve",
    "Page",
    "Panel",
    "Paragraph",
    "Plot",
    "Row",
    "Section",
    "Span",
    "Table",
    "spans",
]

SPAN = re.compile(
    r"`(?P<code>[^`]+)`|\[(?P<label>[^\]\[]+)\]\((?P<target>(?:#|https?://)[^()\s]+|[\w.-]+\.md)\)"
)


class Span(NamedTuple):
    """A piece of text of one kind; `target` is where a link leads."""

    kind: Literal["text", "code", "link"]
    text: str
    target: str = ""


def spans(text: str) -> Iterator[Span]:
    """The pieces of a text.

    >>> [span.kind for span in spans("write `axis=1`, see [modes](#modes)")]
    ['text', 'code', 'text', 'link']
    """
    end = 0
    for found in SPAN.finditer(text):
        if found.start() > end:
            yield Span("text", text[end : found.start()])
        if found["code"]:
            yield Span("code", found["code"])
        else:
            yield Span("link", found["label"], found["target"])
        end = found.end()
    if end < len(text):
        yield Span("text", text[end:])


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of text."""

    text: str


@dataclass(frozen=True)
class Code:
    """Code as it stands, in a language that a highlighter knows."""

    text: str
    language: str = "python"


class Column(NamedTuple):
    """A column: its key, the same in every language, its title, and whether it holds sentences."""

    key: str
    title: str
    wide: bool = False


@dataclass(frozen=True)
class Row:
    """One row; `id` is its anchor, `data` what the cells were made from, as JSON can hold it."""

    cells: tuple[str, ...]
    id: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """Rows under columns; each row has as many cells."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row.cells) != len(self.columns):
                raise ValueError(
                    f"a row of a table with {len(self.columns)} columns has {len(row.cells)} "
                    f"cells: {row.cells}"
                )


class Curve(NamedTuple):
    """Values from before the first step on; `id` is the same in every language."""

    id: str
    label: str
    values: tuple[float, ...]


class Panel(NamedTuple):
    """Curves of one quantity."""

    title: str
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class Plot:
    """Curves over steps, a panel beside the other; `step` is the word for a step.

    `title` stands before it, with a colon; `name` is without.
    """

    title: str
    step: str
    panels: tuple[Panel, ...]

    @property
    def name(self) -> str:
        """What it shows, for readers who don't see it."""
        return self.title.rstrip(":\uff1a").replace("`", "")

    def table(self) -> Table:
        """A choice of the numbers, for formats without pictures."""
        curves = [(panel, curve) for panel in self.panels for curve in panel.curves]
        last = max(len(curve.values) for _, curve in curves) - 1
        steps = [step for step in (0, 1, 2, 5, 10, 20) if step < last] + [last]
        columns = (Column(f"{n}", f"{self.step} {n}" if n == 0 else f"{n}") for n in steps)
        rows = (
            Row((f"`{p.title}`, {c.label}", *(f"{c.values[n]:.4g}" for n in steps)))
            for p, c in curves
        )
        return Table((Column("curve", ""), *columns), tuple(rows))


Block: TypeAlias = Paragraph | Code | Table | Plot


@dataclass(frozen=True)
class Section:
    """A headed part of a page; `id` is its anchor in every format and language."""

    id: str
    title: str
    blocks: tuple[Block, ...] = ()
    sections: tuple[Section, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)

    def walk(self) -> Iterator[Section]:
        """The section and all within it, in reading order."""
        yield self
        for section in self.sections:
            yield from section.walk()


@dataclass(frozen=True)
class Page:
    """How `a` and `b` differ; both are facts about a side as JSON can hold them."""

    title: str
    lang: str
    a: Mapping[str, str]
    b: Mapping[str, str]
    sections: tuple[Section, ...]

    def walk(self) -> Iterator[Section]:
        """All sections, in reading order."""
        for section in self.sections:
            yield from section.walk()

    def ids(self) -> list[str]:
        """All anchors, in reading order."""
        found: list[str] = []
        for section in self.walk():
            found.append(section.id)
            tables = (block for block in section.blocks if isinstance(block, Table))
            found += [row.id for table in tables for row in table.rows if row.id]
        return found
