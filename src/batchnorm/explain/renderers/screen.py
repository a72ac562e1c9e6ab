"""The first screen for a terminal: a rule a paragraph, its topic in front."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from batchnorm.explain.page import Page, Paragraph, Table
from batchnorm.explain.renderers.text import inline

__all__ = ["print_screen"]


def print_screen(page: Page, console: Console) -> None:
    """Print a page of rules; each row is a topic, a sentence and a harm."""
    title = inline(page.title)
    title.stylize("bold")
    console.print(title)
    for block in (block for section in page.sections for block in section.blocks):
        if isinstance(block, Table):
            grid = RichTable.grid(padding=(0, 2))
            grid.add_column(no_wrap=True, style="bold")
            grid.add_column(overflow="fold")
            for topic, rule, harm in (row.cells for row in block.rows):
                sentence = inline(rule)
                if harm != "-":
                    sentence = Text.assemble(sentence, "  ", (f"[{harm}]", "red"))
                grid.add_row(inline(topic), sentence)
            console.print(grid)
        elif isinstance(block, Paragraph):
            note = inline(block.text)
            note.stylize("dim")
            console.print(note)
