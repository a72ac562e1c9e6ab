"""A page for the terminal, with rich's tables."""

from __future__ import annotations

import io
import shutil

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.syntax import Syntax
from rich.table import Table as RichTable
from rich.text import Text

from batchnorm.explain.page import Block, Code, Page, Paragraph, Plot, Section, Table, spans
from batchnorm.printable import shown, shown_lines

__all__ = ["inline", "print_page", "render"]

WIDTH = 100
NARROWEST = 40
PADDING = 3  # of a column, at most


def render(page: Page) -> str:
    """The page without colours, as wide as COLUMNS or the terminal says, else 100 columns."""
    out, (width, _) = io.StringIO(), shutil.get_terminal_size((WIDTH, 24))
    width = max(width, NARROWEST)
    print_page(page, Console(file=out, width=width, color_system=None, legacy_windows=False))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def print_page(page: Page, console: Console) -> None:
    """Print the page as wide as the console is."""
    title = inline(page.title)
    title.stylize("bold underline")
    console.print(title)
    for section in page.sections:
        _print_section(section, console, 0)


def _print_section(section: Section, console: Console, level: int) -> None:
    console.print()
    if level == 0:
        console.print(Rule(inline(section.title), align="left", style="dim"))
    else:
        heading = inline(section.title)
        heading.stylize("bold")
        console.print(heading)
    for block in section.blocks:
        _print_block(block, console)
    for inner in section.sections:
        _print_section(inner, console, level + 1)


def _print_block(block: Block, console: Console) -> None:
    if isinstance(block, Paragraph):
        console.print(inline(block.text))
    elif isinstance(block, Code):
        code = Syntax(
            shown_lines(block.text), block.language, background_color="default", word_wrap=True
        )
        console.print(Padding(code, (0, 0, 0, 2)))
    elif isinstance(block, Plot):
        console.print(inline(block.title))
        _print_table(block.table(), console)
    else:
        assert isinstance(block, Table)
        _print_table(block, console)


def _print_table(block: Table, console: Console) -> None:
    """As a table, or row by row where its columns couldn't hold a word each."""
    heads = [inline(column.title) for column in block.columns]
    cells = [[_cell(cell) for cell in row.cells] for row in block.rows]
    widths = _widths(block, heads, cells, console.width)
    if widths is None:
        for row in cells:
            console.print()
            for head, cell in zip(heads, row, strict=True):
                named = Text.assemble(head, ": ", cell) if head.plain else cell
                console.print(Padding(named, (0, 0, 0, 2)))
        return
    made = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_lines=False)
    for head, width in zip(heads, widths, strict=True):
        made.add_column(head, overflow="fold", max_width=width)
    for row in cells:
        made.add_row(*row)
    console.print(made)


def _cell(text: str) -> Text:
    return Text("\n").join(map(inline, text.splitlines()))


def _widths(
    block: Table, heads: list[Text], cells: list[list[Text]], width: int
) -> list[int] | None:
    """Natural widths, the widest cut until they fit, none below its longest word; None if not."""
    columns = [[head, *(row[i] for row in cells)] for i, head in enumerate(heads)]
    natural = [max(line.cell_len for text in own for line in text.split()) for own in columns]
    words = [
        max(cell_len(word) for text in own for word in text.plain.split() or [""])
        for own in columns
    ]
    room = width - PADDING * len(columns)
    smallest = [
        max(word, min(own, width // 4)) if column.wide else word
        for word, own, column in zip(words, natural, block.columns, strict=True)
    ]
    widths = list(natural)
    while sum(widths) > room:
        spare = [own - least for own, least in zip(widths, smallest, strict=True)]
        if max(spare) <= 0:
            return None
        widest = max((own, i) for i, own in enumerate(widths) if spare[i] > 0)
        widths[widest[1]] -= 1
    return widths


def inline(text: str) -> Text:
    """Code in colour; of a link its label, and its address where it leads elsewhere."""
    found = Text()
    for span in spans(shown(" ".join(text.split()))):
        if span.kind == "code":
            found.append(span.text, style="cyan")
        elif span.kind == "link" and not span.target.startswith("#"):
            found.append(f"{span.text} <{span.target}>")
        else:
            found.append(span.text)
    return found
