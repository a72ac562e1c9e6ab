"""README's table of the four dialects, as Markdown."""

from __future__ import annotations

from batchnorm.explain.page import Column, Table
from batchnorm.explain.renderers import markdown
from batchnorm.explain.sections import summary
from batchnorm.explain.sides import NEWEST, Side

__all__ = ["overview"]


def overview() -> str:
    """A column per dialect, a row per thing that goes wrong most often."""
    sides = tuple(Side(name) for name in NEWEST)
    columns = (Column("fact", ""), *(Column(side.name, f"`bn.{side.name}`") for side in sides))
    return markdown.table(Table(columns, summary.rows(sides, "en")))
