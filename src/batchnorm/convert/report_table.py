"""A conversion's table for the terminal: one line per layer, name → name, shape, what was done.

Made to be read in 80 columns; every array's own names are in the report's JSON. Imported when
something is printed, since only the command needs rich.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from batchnorm.convert.report import Row
from batchnorm.printable import shown

__all__ = ["table_of"]

# What is worst comes first: a layer has the colour of the first that one of its arrays is.
COLOURS = {"missing": "red", "unused": "red", "ambiguous": "yellow", "filled": "cyan"}


def table_of(rows: Iterable[Row], frameworks: tuple[str, str]) -> Table:
    """The table; rows of one layer stand together, where its first array stands."""
    layers: dict[str, list[Row]] = {}
    for row in rows:
        layers.setdefault(row.layer, []).append(row)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in (*frameworks, "shape", "what was done"):
        table.add_column(title, overflow="fold")
    for layer, own in layers.items():
        made = all(row.source is None for row in own)
        statuses = {row.status for row in own}
        style = next((colour for name, colour in COLOURS.items() if name in statuses), "")
        cells = ("—" if made else layer, _target(own), _shape(own), _what(own))
        table.add_row(*(Text(shown(cell)) for cell in cells), style=style)
    return table


def _parts(name: str) -> tuple[str, str]:
    found = re.fullmatch(r"(?s)(.*)[./](.*)", name)
    return (found[1], found[2]) if found else ("", name)


def _target(rows: Sequence[Row]) -> str:
    """The target's layer: what its arrays' names have in common."""
    names = [row.target for row in rows if row.target is not None]
    parents = list(dict.fromkeys(_parts(name)[0] for name in names))
    if len(rows) == 1 and rows[0].source == rows[0].layer:
        return names[0] if names else "—"  # a single array has no layer
    return ", ".join(parent or "(the layer itself)" for parent in parents) or "—"


def _shape(rows: Sequence[Row]) -> str:
    """That of the array with the most dimensions."""
    row = max(rows, key=lambda r: len(r.shape))
    text = "×".join(map(str, row.shape)) or "scalar"
    if row.target_shape is not None and row.target_shape != row.shape:
        text += " → " + ("×".join(map(str, row.target_shape)) or "scalar")
    return text


def _what(rows: Sequence[Row]) -> str:
    """Each thing that was done; where it is no matter of course, with the arrays' names."""
    done: dict[str, list[Row]] = {}
    for row in rows:
        text = row.what or _carried(row)
        if row.status not in ("carried", "kept"):
            text = f"{row.status}: {row.what}" if row.what else row.status
        done.setdefault(f"kept {text}" if row.status == "kept" else text, []).append(row)
    if len(done) > 1:
        done.pop("carried", None)
    whole = all(len(own) == len(rows) for own in done.values())
    return "; ".join(
        text if whole or own[0].status in ("carried", "kept") else f"{_names(own)} {text}"
        for text, own in done.items()
    )


def _names(rows: Sequence[Row]) -> str:
    return ", ".join(_parts(row.source or row.target or "")[1] for row in rows)


def _carried(row: Row) -> str:
    same = _parts(row.source or "")[1] == _parts(row.target or "")[1]
    return "carried" if same else "renamed"
