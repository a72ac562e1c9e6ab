"""Chinese punctuation: sources are written with ASCII marks, pages show full-width ones.

In a text with Chinese characters every mark and bracket becomes full-width, and loses the space
after it, unless it belongs to a number, a call, a tuple or a formula. Code and targets of links
are left alone, but count as words of the sentence.
"""

from __future__ import annotations

import re
from dataclasses import replace

from batchnorm.explain.page import Block, Page, Paragraph, Plot, Row, Section, Table, spans

__all__ = ["chinese", "full_width"]

HAN = re.compile("[\u4e00-\u9fff]")
# Spans stand in the text as private characters while marks are set: their neighbours count.
CODE, LABEL, TARGET = "\ue000", "\ue001", "\ue002"
MARK = re.compile(
    r"(?<=\d):(?=\d+ [\u4e00-\u9fff])"  # a colon before a number of things
    r"|(?<!\d)(?!(?<=[a-z]):0\b)[,;:?!](?=\S|$)"  # not inside a number, nor `gamma:0`
    r"|(?<=\d)[,;:?!](?=[^\s\d]|$)"
    r"|[,;:?!](?:(?= *\n)| +)",
    re.MULTILINE,
)
FULL = {ord(ascii): ord(ascii) + 0xFEE0 for ascii in ",;:?!()"}


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
    hidden: list[str] = []
    shown = []
    for span in spans(text):
        if span.kind == "code":
            shown.append(CODE)
            hidden.append(f"`{span.text}`")
        elif span.kind == "link":
            shown.append(f"{LABEL}{span.text}{TARGET}")
            hidden += ["[", f"]({span.target})"]
        else:
            shown.append(span.text)
    back = iter(hidden)
    marked = _marks(_brackets("".join(shown)))
    return re.sub(f"[{CODE}{LABEL}{TARGET}]", lambda found: next(back), marked)


def _marks(text: str) -> str:
    def set_mark(found: re.Match[str]) -> str:
        mark, before, after = found[0], text[: found.start()], text[found.end() :]
        if before.count("(") > before.count(")"):  # in a bracket that is no Chinese one
            return mark
        between_codes = before.endswith(CODE) and after.startswith(CODE)
        return "\u3001" if mark[0] == "," and between_codes else mark[0].translate(FULL)

    return MARK.sub(set_mark, text)


def _brackets(text: str) -> str:
    """Each pair by what stands in it and around it; a formula's stay."""
    characters, opened = list(text), list[int]()
    for end, character in enumerate(text):
        if character == "(":
            opened.append(end)
        elif character == ")" and opened:
            start = opened.pop()
            before, inside, after = text[:start][-1:], text[start + 1 : end], text[end + 1 :][:1]
            chinese_around = HAN.search(inside + before + after)
            if not chinese_around and (not before or before not in f"%{CODE}{TARGET}"):
                continue
            for place in (start, end):
                characters[place] = characters[place].translate(FULL)
    return "".join(characters)


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
    return replace(block, title=full_width(block.title)) if isinstance(block, Plot) else block


def _row(row: Row) -> Row:
    return replace(row, cells=tuple(full_width(cell) for cell in row.cells))
