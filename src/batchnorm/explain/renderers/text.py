"""A page for the terminal, with rich's tables."""

from __future__ import annotations

import io
import shutil

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.syntax import Syntax
from rich.table import Table as RichTable
from rich.text import Text

from batchnorm.explain.page import Block, Code, Page, Paragraph, Section, Table, spans

__all__ = ["print_page", "render"]

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
        code = Syntax(block.text, block.language, background_color="default", word_wrap=True)
        console.print(Padding(code, (0, 0, 0, 2)))
    else:
        assert isinstance(block, Table)
        console.print(_table(block, console.width))


def _table(block: Table, width: int) -> RichTable:
    made = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_lines=False)
    cells = [[_cell(cell) for cell in row.cells] for row in block.rows]
    widths = _widths(block, cells, width)
    for i, column in enumerate(block.columns):
        made.add_column(inline(column.title), overflow="fold", max_width=widths[i])
    for row in cells:
        made.add_row(*row)
    return made


def _cell(text: str) -> Text:
    return Text("\n").join(map(inline, text.splitlines()))


def _widths(block: Table, cells: list[list[Text]], width: int) -> list[int]:
    """Natural widths, the widest cut until two fifths of the width are left for sentences."""
    heads = [inline(column.title).cell_len for column in block.columns]
    natural = [
        max([head, *(line.cell_len for row in cells for line in row[i].split())])
        for i, head in enumerate(heads)
    ]
    widths = [
        min(own, 2 * width // 5) if column.wide else own
        for own, column in zip(natural, block.columns, strict=True)
    ]
    room = max(width - PADDING * len(widths), len(widths))
    while sum(widths) > room:
        narrow = [w for w, c in zip(widths, block.columns, strict=True) if not c.wide] or widths
        widths[widths.index(max(narrow))] -= 1
    spare = room - sum(widths)
    return [
        min(own + spare, whole) if column.wide else own
        for own, whole, column in zip(widths, natural, block.columns, strict=True)
    ]


def inline(text: str) -> Text:
    """Code in colour; of a link its label, and its address where it leads elsewhere."""
    found = Text()
    for span in spans(" ".join(text.split())):
        if span.kind == "code":
            found.append(span.text, style="cyan")
        elif span.kind == "link" and not span.target.startswith("#"):
            found.append(f"{span.text} <{span.target}>")
        else:
            found.append(span.text)
    return found
