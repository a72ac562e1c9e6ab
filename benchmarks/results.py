"""A folder of results, written anew after every row, so that a run can be stopped and resumed.

Not here: measuring (`turns.py`) and how a table and its picture look (`table.py`).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from batchnorm.cli.measure import Case
from batchnorm.cli.output import replace_text
from benchmarks.table import Row, plot, summary, table
from benchmarks.turns import MORE, SMALL

__all__ = ["Results"]

Key = tuple[str, Case]


@dataclass
class Results:
    """The rows measured so far, and what all of them have in common."""

    setting: dict[str, Any]  # of processor, versions, kernel and options; `about` is its text
    date: str = ""
    seconds: float = 0.0
    runs: int = 1
    rows: dict[Key, Row] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Results:
        """What `write` wrote into this folder; KeyError or ValueError where it was another."""
        found = json.loads((folder / "times.json").read_text())
        results = cls(found["setting"], found["date"], found["elapsed"], found["runs"])
        for one in found["rows"]:
            names = ("task", "shape", "layout", "dtype", "moves")
            task, shape, layout, dtype, moves = (one[name] for name in names)
            case = Case(task, tuple(shape), layout, dtype, tuple(moves))
            times = {name: np.array(taken) for name, taken in one["seconds"].items()}
            row = Row(case, times, one["notes"], one["file"], one["steal"])
            results.rows[row.file, case] = row
        return results

    @property
    def about(self) -> str:
        """Where and how this was measured, in a line."""
        of = self.setting
        steal = np.median([row.steal for row in self.rows.values()]) if self.rows else 0.0
        return (
            f"{self.date}; {of['processor']}; {of['threads']} threads of {of['processors']} "
            f"processors; {', '.join(of['versions'])}; {self.seconds / 60:.0f} minutes in "
            f"{self.runs} runs (later ones of rows missing or disturbed), in which "
            f"the host took {steal:.0f} % of the processors' time (steal; median of rows)."
        )

    @property
    def text(self) -> str:
        """The page."""
        rows = list(self.rows.values())
        return (
            f"# Benchmarks\n\n{self.about}\n\nMedians (quartiles) of ratios over up to "
            f"{self.setting['rounds']} rounds ({MORE} times as many below {SMALL >> 20} MiB), in "
            f"which all took turns, each after a pause and one call that isn't timed. Ours is "
            f"{rows[0].ours}, which writes into a given output.\n"
            f"`limit` is a plain loop that moves just the tensors named; `steal` is the share of "
            f"the processors' time that the host gave to others during the row.\n\n"
            f"{summary(rows)}\n\n{table(rows)}\n"
        )

    @property
    def data(self) -> dict[str, Any]:
        """All times, as JSON has it."""
        rows = [
            {
                **asdict(row.case),
                "file": row.file,
                "ours": row.ours,
                "seconds": {name: times.tolist() for name, times in row.times.items()},
                "notes": row.notes,
                "steal": row.steal,
            }
            for row in self.rows.values()
        ]
        about = {"about": self.about, "date": self.date, "elapsed": self.seconds}
        return {**about, "runs": self.runs, "setting": self.setting, "rows": rows}

    def write(self, folder: Path) -> None:
        """table.md and times.json."""
        folder.mkdir(parents=True, exist_ok=True)
        replace_text(folder / "table.md", self.text)
        replace_text(folder / "times.json", json.dumps(self.data) + "\n")

    def draw(self, folder: Path) -> None:
        """plot.png."""
        plot(list(self.rows.values()), folder / "plot.png")
