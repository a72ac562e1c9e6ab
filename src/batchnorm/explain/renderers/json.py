"""A page as one JSON object, for programs.

`schema` is 1 and grows when a key changes its meaning or goes; new keys may come without that.
Keys and ids are the same in every language, texts are in the page's. `data` holds what a text was
made from, such as a question's recorded answers.
"""

from __future__ import annotations

import json
from typing import Any

from batchnorm.explain.page import Block, Code, Page, Panel, Paragraph, Plot, Row, Section, Table

__all__ = ["SCHEMA", "as_data", "render"]

SCHEMA = 1


def render(page: Page) -> str:
    """The object, indented."""
    return json.dumps(as_data(page), ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def as_data(page: Page) -> dict[str, Any]:
    """The page as plain data."""
    return {
        "schema": SCHEMA,
        "title": page.title,
        "lang": page.lang,
        "a": dict(page.a),
        "b": dict(page.b),
        "sections": [_section(section) for section in page.sections],
    }


def _section(section: Section) -> dict[str, Any]:
    return {
        "id": section.id,
        "title": section.title,
        "blocks": [_block(block) for block in section.blocks],
        "sections": [_section(inner) for inner in section.sections],
        "data": dict(section.data),
    }


def _block(block: Block) -> dict[str, Any]:
    if isinstance(block, Paragraph):
        return {"type": "paragraph", "text": block.text}
    if isinstance(block, Code):
        return {"type": "code", "language": block.language, "text": block.text}
    if isinstance(block, Plot):
        panels = [_panel(panel) for panel in block.panels]
        return {"type": "plot", "title": block.title, "panels": panels}
    assert isinstance(block, Table)
    keys = [column.key for column in block.columns]
    return {
        "type": "table",
        "columns": [{"key": column.key, "title": column.title} for column in block.columns],
        "rows": [_row(row, keys) for row in block.rows],
    }


def _panel(panel: Panel) -> dict[str, Any]:
    curves = [
        {"id": c.id, "label": c.label, "values": [float(f"{v:.6g}") for v in c.values]}
        for c in panel.curves
    ]
    return {"title": panel.title, "curves": curves}


def _row(row: Row, keys: list[str]) -> dict[str, Any]:
    cells = dict(zip(keys, row.cells, strict=True))
    return {"id": row.id, "cells": cells, "data": dict(row.data)}
