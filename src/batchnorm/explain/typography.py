"""Chinese punctuation: sources are written with ASCII marks, pages show full-width ones.

A mark becomes full-width where it belongs to Chinese text: no space follows it, as one would after
an English mark, and it stands in a sentence with Chinese characters. Code and targets of links are
left alone.
"""

from __future__ import annotations

import re
from dataclasses import replace

from batchnorm.explain.page import Block, Page, Paragraph, Row, Section, Table, spans

__all__ = ["chinese", "full_width"]

HAN = re.compile("[\u4e00-\u9fff]")
# Not inside a number, and not TensorFlow's `gamma:0`.
MARK = re.compile(r"(?<!\d)(?!(?<=[a-z]):0\b)[,;:?!](?=\S|$)|(?<=\d)[,;:?!](?=[^\s\d]|$)")
BRACKETS = re.compile(r"\(([^()]*)\)")
FULL = {ord(ascii): ord(ascii) + 0xFEE0 for ascii in ",;:?!"}


def chinese(page: Page) -> Page:
    """The page with its punctuation set."""
    sections = tuple(_section(section) for section in page.sections)
    return replace(page, title=full_width(page.title), sections=sections)


def full_width(text: str) -> str:
    """The text with full-width punctuation where it is Chinese.

    >>> full_width("3, 4") == "3, 4"
    True
    """
    if not HAN.search(text):
        return text
    found = []
    for span in spans(text):
        if span.kind == "code":
            found.append(f"`{span.text}`")
        elif span.kind == "link":
            found.append(f"[{_marks(span.text)}]({span.target})")
        else:
            found.append(_marks(span.text))
    return "".join(found)


def _marks(text: str) -> str:
    return BRACKETS.sub(_brackets, MARK.sub(lambda mark: mark[0].translate(FULL), text))


def _brackets(found: re.Match[str]) -> str:
    before = found.string[max(found.start() - 1, 0) : found.start()]
    after = found.string[found.end() : found.end() + 1]
    if HAN.search(before + found[1] + after):
        return f"\uff08{found[1]}\uff09"
    return found[0]


def _section(section: Section) -> Section:
    return replace(
        section,
        title=full_width(section.title),
        blocks=tuple(_block(block) for block in section.blocks),
        sections=tuple(_section(inner) for inner in section.sections),
    )


def _block(block: Block) -> Block:
    if isinstance(block, Paragraph):
        return Paragraph(full_width(block.text))
    if isinstance(block, Table):
        columns = tuple(column._replace(title=full_width(column.title)) for column in block.columns)
        return Table(columns, tuple(_row(row) for row in block.rows))
    return block


def _row(row: Row) -> Row:
    return replace(row, cells=tuple(full_width(cell) for cell in row.cells))
