"""What a comparison of two checkpoints found: as a table, as JSON, as exit code.

Not here: how it was found (`compare`).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from batchnorm.printable import shown
from batchnorm.reported import Reported

if TYPE_CHECKING:  # the command's own dependency, imported when something is printed
    from rich.console import Console

__all__ = ["Comparison", "Difference", "Kind"]

Kind: TypeAlias = Literal["values", "shape", "only in A", "only in B", "settings"]


@dataclass(frozen=True)
class Difference:
    """One array (or setting) that differs.

    Attributes:
        layer: the layer in A, or in B where A has none.
        role: which part of it: the core's words for batch norm.
        kind: values, shape, only in A, only in B, settings.
        a, b: the names in the two.
        largest: the largest absolute difference; infinite where only one side is finite.
        relative: that, over the largest absolute value of A.
        values: how many values differ.
        where: index of the largest difference, in A's layout.
        detail: in words.
    """

    layer: str
    role: str
    kind: Kind
    a: str | None
    b: str | None
    largest: float = 0.0
    relative: float = 0.0
    values: int = 0
    where: tuple[int, ...] = ()
    detail: str = ""


@dataclass(repr=False)
class Comparison(Reported):
    """What was compared, and what differs, in the order of A's layers."""

    a: str
    b: str
    frameworks: tuple[str, str]
    differences: list[Difference] = field(default_factory=list)
    equal: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """1 if anything differs."""
        return 1 if self.differences else 0

    def as_json(self) -> dict[str, Any]:
        """One object; its form is stable within a version. An infinite number is its text."""
        found = {"version": 1, "command": "compare", "exit_code": self.exit_code, **asdict(self)}
        found["advice"] = self.advice
        for item in found["differences"]:
            for name in ("largest", "relative"):
                if not math.isfinite(item[name]):
                    item[name] = str(item[name])
        return found

    @property
    def advice(self) -> str:
        """One sentence on what to do."""
        kinds = {row.kind for row in self.differences}
        layers = len({row.layer for row in self.differences})
        if not self.differences:
            return "nothing to do: what both hold is equal"
        alone = kinds & {"only in A", "only in B", "shape"}
        if alone:
            return (
                "some layers have no counterpart, so these are two architectures, or their names "
                "don't show which belong together: say it with --map"
            )
        if kinds == {"settings"}:
            return f"all arrays are equal: give {layers} layers the settings of the other side"
        values = {row.role for row in self.differences if row.kind == "values"}
        if values <= {"running_mean", "running_var", "count"}:
            return (
                f"only running statistics differ, in {layers} layers: one side trained on, or was "
                "loaded without them; load them again, or take them anew with bn.recalibrate"
            )
        if self.equal == 0:
            return (
                "no array is equal, so these are other weights or other pairs: check the pairs "
                "above, and give --map where they are wrong"
            )
        first = self.differences[0].layer
        return f"load {first} and what follows it in the list again: the others are equal"

    def print(self, console: Console) -> None:
        """The first that differs on top."""
        from rich.table import Table
        from rich.text import Text

        if self.differences:
            table = Table(box=None, pad_edge=False, header_style="bold")
            for title in ("layer", "part", "difference", "largest", "relative", "values"):
                table.add_column(title, overflow="fold")
            for row in self.differences:
                numbers = ["", "", ""]
                if row.kind == "values":
                    numbers = [f"{row.largest:.3g}", f"{row.relative:.3g}", str(row.values)]
                detail = f"{row.kind}: {row.detail}" if row.detail else row.kind
                cells = (row.layer, row.role, detail, *numbers)
                table.add_row(*(Text(shown(cell)) for cell in cells))
            console.print(table)
        for note in self.notes:
            console.print(f"note: {shown(note)}", highlight=False, markup=False)
        first = f"; the first: {self.differences[0].layer}" if self.differences else ""
        console.print(
            f"{self.frameworks[0]} and {self.frameworks[1]}: {self.equal} arrays equal, "
            f"{len(self.differences)} different{shown(first)}",
            highlight=False,
            markup=False,
        )
        console.print(shown(self.advice), highlight=False, markup=False)
