"""What a conversion did: one row per array, notes, problems; as JSON, as exit code, as text.

Not here: how it was decided (`plan`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from batchnorm.printable import shown

if TYPE_CHECKING:  # the command's own dependency, imported when something is printed
    from rich.console import Console
    from rich.table import Table

__all__ = ["FINDINGS", "Report", "Row", "Status"]

Status: TypeAlias = Literal[
    "carried", "filled", "kept", "folded", "left out", "ambiguous", "missing", "unused"
]
# What must be looked at before the target is used; an ambiguous array was written all the same.
FINDINGS: tuple[Status, ...] = ("missing", "unused")
# What is worst comes first: a layer has the colour of the first that one of its arrays is.
_COLOURS = {"missing": "red", "unused": "red", "ambiguous": "yellow", "filled": "cyan"}


@dataclass(frozen=True)
class Row:
    """What happened to one array.

    Attributes:
        layer: the source's layer, or the target's where the source has none.
        source: the name in the source; None if it was made.
        target: the name in the target; None if it has no place there.
        shape: the shape in the source, or of what was made.
        target_shape: the shape in the target.
        status: carried; filled (made, as the target has an array that the source doesn't need);
            kept (in the metadata); folded; left out on purpose; ambiguous (written, but what it is
            can't be told); missing (the target expects it); unused (the source has it).
        what: what was done, or why nothing was.
    """

    layer: str
    source: str | None
    target: str | None
    shape: tuple[int, ...]
    target_shape: tuple[int, ...] | None
    status: Status
    what: str = ""


@dataclass
class Report:
    """The whole of it.

    Attributes:
        source: the file or what stands for it.
        target: the file, or None.
        frameworks: of the source and of the target.
        rows: one per array.
        settings: by the target's layer, constructor arguments in the target's words.
        notes: what to know about the result.
        problems: why layers could not be matched.
        doubts: what can't be told of the whole, though the target is written.
        written: whether the target was written.
        allow_missing: whether missing and unused arrays were allowed.
    """

    source: str
    target: str | None
    frameworks: tuple[str, str]
    rows: list[Row] = field(default_factory=list)
    settings: dict[str, dict[str, float | None]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    written: bool = False
    allow_missing: bool = False

    def of(self, *statuses: Status) -> list[Row]:
        """The rows of these statuses."""
        return [row for row in self.rows if row.status in statuses]

    @property
    def complete(self) -> bool:
        """Whether every array of both sides found its counterpart."""
        return not self.of(*FINDINGS) and not self.problems

    @property
    def exit_code(self) -> int:
        """0, or 1 if something is unmatched or unclear and that was not allowed."""
        open_ends = not self.complete or bool(self.of("ambiguous") or self.doubts)
        return 1 if open_ends and not self.allow_missing else 0

    @property
    def summary(self) -> str:
        """One line."""
        layers = len({row.layer for row in self.rows if row.target is not None})
        parts = [f"{len([r for r in self.rows if r.target])} arrays in {layers} layers"]
        for status in ("filled", "kept", "folded", "left out", "ambiguous", "missing", "unused"):
            count = len([row for row in self.rows if row.status == status])
            if count:
                parts.append(f"{count} {status}")
        return ", ".join(parts)

    def as_json(self) -> dict[str, Any]:
        """One object; its form is stable within a version."""
        return {
            "version": 1,
            "command": "convert",
            "source": self.source,
            "target": self.target,
            "from": self.frameworks[0],
            "to": self.frameworks[1],
            "written": self.written,
            "exit_code": self.exit_code,
            "arrays": [asdict(row) for row in self.rows],
            "settings": self.settings,
            "notes": self.notes,
            "problems": self.problems,
            "doubts": self.doubts,
            "summary": self.summary,
        }

    def print(self, console: Console, *, table: bool = True) -> None:
        """The table by layer, then notes and problems, then one line."""
        rows = self.rows if table else self.of(*FINDINGS, "ambiguous")
        if rows:
            console.print(_table(rows, self.frameworks))
        for note in self.notes:
            console.print(f"note: {shown(note)}", highlight=False, markup=False)
        for doubt in self.doubts:
            console.print(f"unclear: {shown(doubt)}", style="yellow", highlight=False, markup=False)
        for problem in self.problems:
            console.print(f"problem: {shown(problem)}", style="red", highlight=False, markup=False)
        wrote = f"wrote {self.target}" if self.written else "nothing was written"
        line = f"{self.frameworks[0]} → {self.frameworks[1]}: {self.summary}; {wrote}"
        console.print(shown(line), highlight=False, markup=False)


def _table(rows: Iterable[Row], frameworks: tuple[str, str]) -> Table:
    """One line per layer, where its first array stands; made to be read in 80 columns."""
    from rich.table import Table
    from rich.text import Text

    layers: dict[str, list[Row]] = {}
    for row in rows:
        layers.setdefault(row.layer, []).append(row)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in (*frameworks, "shape", "what was done"):
        table.add_column(title, overflow="fold")
    for layer, own in layers.items():
        made = all(row.source is None for row in own)
        statuses = {row.status for row in own}
        style = next((colour for name, colour in _COLOURS.items() if name in statuses), "")
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
