"""A translation as JSON data and as text for a terminal. Not here: options and exit codes (cli)."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from batchnorm.translate.difference import Difference
from batchnorm.translate.proof import STEPS, Proof, Row
from batchnorm.translate.translation import Translation

__all__ = ["SCHEMA", "as_data", "print_translation"]

SCHEMA = 1
"""The version of the JSON; it changes when a field changes its meaning or goes."""

_KINDS = {
    "inexpressible": ("can't be expressed", "red"),
    "predicted": ("predicted", "yellow"),
    "around": ("by hand", "cyan"),
}
# The first four are of one place, where the most of the bound is used.
_HEADINGS = ("difference", "predicted", "bound", "used", "largest")
_STATUS = {
    "equal": ("equal", "green"),
    "predicted": ("different only as predicted", "yellow"),
    "different": ("different: see above what can't be expressed or was not predicted", "red"),
}


def as_data(translation: Translation, *, real: Proof | None = None) -> dict[str, Any]:
    """One translation as plain data, for JSON."""
    plan = translation.plan
    return {
        "to": plan.target.form.dialect.name,
        "call": translation.text,
        "lazy_call": translation.lazy,
        "class": plan.target.form.class_name,
        "arguments": {name: a.text for name, a in plan.target.arguments.items()},
        "rank": plan.rank,
        "channel_axis": {"source": plan.axes[0], "target": plan.axes[1]},
        "state": [
            {
                "role": names.role,
                "source": names.source,
                "target": names.target,
                "source_saved": list(names.source_saved),
                "target_saved": list(names.target_saved),
            }
            for names in translation.state
        ],
        "notes": list(translation.notes),
        "differences": [_difference(d, translation.size_of(d)) for d in translation.differences],
        "proof": _proof(translation.proof),
        "real_proof": None if real is None else _proof(real),
        "status": translation.status,
    }


def _difference(difference: Difference, size: float | None) -> dict[str, Any]:
    return {
        "key": difference.key,
        "kind": difference.kind,
        "text": difference.text,
        "remedy": difference.remedy or None,
        "size": size,
        "reference": difference.reference,
    }


def _proof(proof: Proof) -> dict[str, Any]:
    return {
        "ran": list(proof.ran),
        "training_steps": STEPS,
        "shape": list(proof.shape),
        "stand_ins": {text: _plain(value) for text, value in proof.stand_ins.items()},
        "skipped": proof.skipped or None,
        "problems": list(proof.problems),
        "equal": proof.equal,
        "holds": proof.holds,
        "rows": [{name: _plain(v) for name, v in _fields(row).items()} for row in proof.rows],
    }


def _fields(row: Row) -> dict[str, Any]:
    return {**vars(row), "holds": row.holds}


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return repr(value)


def print_translation(
    translation: Translation, console: Console, *, real: Proof | None = None
) -> None:
    """The call on a line of its own, then what goes with it."""
    _line(console, translation.text)
    if translation.lazy is not None:
        _line(console, f"{translation.lazy}  # or: finds the number of channels by itself")
    if translation.inferred:
        source = translation.plan.source.form.dialect.name
        console.print(Text(f"read as {source}, by {translation.inferred}", "dim"))
    console.print()
    _print_state(translation, console)
    _print_differences(translation, console)
    _print_proof(translation.proof, console)
    if real is not None:
        _print_proof(real, console)
    for note in translation.notes:
        console.print(Text(note, "dim"))
    words, colour = _STATUS[translation.status]
    console.print(Text(words, f"bold {colour}"))


def _line(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _print_state(translation: Translation, console: Console) -> None:
    source, target = (
        side.form.dialect.name for side in (translation.plan.source, translation.plan.target)
    )
    title = "State: its names in the layer, and in files of a net that calls the layer bn1"
    table = Table(box=box.SIMPLE, pad_edge=False, title=title, title_justify="left")
    for heading in (source, target):
        table.add_column(heading, no_wrap=True)
    for heading in (source, target):
        table.add_column(f"saved by {heading}", no_wrap=True)
    for names in translation.state:
        saved = (_saved(names.source_saved), _saved(names.target_saved))
        table.add_row(names.source or "—", names.target or "—", *saved)
    if _fits(table, console):
        console.print(table)
        return
    console.print(title)
    for row in zip(*(column.cells for column in table.columns), strict=True):
        _line(console, f"  {row[0]} → {row[1]}")
        _line(console, f"    saved: {row[2]} → {row[3]}")
    console.print()


def _fits(table: Table, console: Console) -> bool:
    """Whether nothing must be cut or broken, so that names can be copied."""
    width = console.options.update(width=10**6)
    return table.__rich_measure__(console, width).maximum <= console.width


def _saved(names: tuple[str, ...]) -> str:
    shown = [name for name in names if not names[0].endswith(f".{name}")]
    return " / ".join(dict.fromkeys(shown)) or "—"


def _print_differences(translation: Translation, console: Console) -> None:
    if not translation.differences:
        return
    title = "Differences"
    if any(difference.kind == "around" for difference in translation.differences):
        title += " (by hand: what to do around the call)"
    table = Table(box=box.SIMPLE, pad_edge=False, title=title, title_justify="left")
    table.add_column("")
    table.add_column("what, and what to do", overflow="fold")
    for difference in translation.differences:
        words, colour = _KINDS[difference.kind]
        text = Text(difference.text)
        if difference.remedy:
            text.append(f"\n→ {difference.remedy}", "bold")
        name = difference.reference or difference.key
        text.append(f"\n[{name}]", "dim")
        table.add_row(Text(words, colour), text)
    console.print(table)


def _print_proof(proof: Proof, console: Console) -> None:
    title = f"Proof: {proof.ran[0]} and {proof.ran[1]}, from one state"
    if proof.skipped:
        console.print(f"{title}: not run, since {proof.skipped}", markup=False)
        return
    shape = "×".join(map(str, proof.shape))
    caption = f"{STEPS} training steps and one inference on {shape}; a row is its worst place"
    for text, value in proof.stand_ins.items():
        caption += f"\n`{text}` stands as {value!r}"
    console.print(Text(title), Text(caption, "dim"), sep="\n", highlight=False)
    if proof.rows:
        tables = [_rows(proof.rows, count) for count in range(len(_HEADINGS), -1, -1)]
        fitting = (table for table in tables if _fits(table, console))
        console.print(next(fitting, tables[-1]))
    for problem in proof.problems:
        console.print(Text(f"problem: {problem}", "red"))


def _rows(rows: tuple[Row, ...], count: int) -> Table:
    """The rows with the first so many columns of numbers."""
    table = Table(box=box.SIMPLE, pad_edge=False, collapse_padding=True)
    table.add_column("", no_wrap=True)
    for heading in _HEADINGS[:count]:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for row in _merged(rows):
        table.add_row(row.name, *_numbers(row)[:count], _verdict(row))
    return table


def _merged(rows: tuple[Row, ...]) -> list[Row]:
    """Rows that seldom say anything, put together with their like."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        name = re.sub("^.* at first", "initial state", row.name)
        groups.setdefault(re.sub("^(gamma|beta) after", "gamma, beta after", name), []).append(row)
    return [
        replace(
            max(group, key=lambda row: row.share),
            name=name,
            equal=all(row.equal for row in group),
        )
        for name, group in groups.items()
    ]


def _numbers(row: Row) -> tuple[str, ...]:
    predicted = "—" if row.predicted is None else f"{row.predicted + 0.0:.4g}"
    used = "—" if row.predicted is None else f"{row.share:.0%}"
    return f"{row.difference:.4g}", predicted, f"{row.bound:.1e}", used, f"{row.largest:.2g}"


def _verdict(row: Row) -> Text:
    if row.equal:
        return Text("equal", "green")
    if row.predicted is None:
        return Text("measured only", "yellow")
    return Text("predicted", "yellow") if row.holds else Text("UNPREDICTED", "bold red")
