"""The table of the dialects in docs/layers.md, as Markdown, in either language."""

from __future__ import annotations

from batchnorm.explain.page import Column, Table
from batchnorm.explain.renderers import markdown
from batchnorm.explain.sections import summary
from batchnorm.explain.sides import NEWEST, Side
from batchnorm.explain.typography import full_width
from batchnorm.explain.words import Lang

__all__ = ["overview"]


def overview(lang: Lang = "en") -> str:
    """A column per dialect, a row per thing that goes wrong most often."""
    sides = tuple(Side(name) for name in NEWEST)
    columns = (Column("fact", ""), *(Column(side.name, f"`bn.{side.name}`") for side in sides))
    text = markdown.table(Table(columns, summary.rows(sides, lang)))
    return "\n".join(map(full_width, text.splitlines())) if lang == "zh" else text
