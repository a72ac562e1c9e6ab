"""Rows as Markdown and as a picture. Not here: measuring (`turns.py`), files (`results.py`)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from batchnorm.cli.measure import TASKS, Case, ratio
from batchnorm.core import kernel
from batchnorm.vocabulary import Array

__all__ = ["Row", "label", "plot", "summary", "table"]

LARGE = 8 << 20  # bytes above which the limit is memory's


@dataclass
class Row:
    """One row: its times by contender, why others have none, and the percentage the host took."""

    case: Case
    times: dict[str, Array]
    notes: dict[str, str] = field(default_factory=dict)
    file: str = ""
    steal: float = 0.0

    @property
    def ours(self) -> str:
        """The level that a user's call gets: the first after the limit."""
        return next(name for name in self.times if name != "limit")

    @property
    def fastest(self) -> float:
        """The time of the fastest framework by ours; NaN without one."""
        own = {"limit", "float32", self.ours, *kernel.IMPLEMENTATIONS}
        found = [ratio(self.times, name, self.ours)[0] for name in self.times if name not in own]
        return min(found, default=math.nan)

    @property
    def large(self) -> bool:
        """Whether x is over 8 MB."""
        return self.case.nbytes > LARGE


def label(case: Case) -> str:
    """A row's shape, type and layout in a few characters."""
    dtype = "" if case.dtype == "float32" else f" {case.dtype}"
    return "×".join(map(str, case.shape)) + f"{dtype} {case.layout}"


def columns(rows: list[Row]) -> list[str]:
    """The contenders besides ours, each once, in the order of their first row."""
    ours = {row.ours for row in rows}
    return [
        n for n in dict.fromkeys(n for row in rows for n in row.times) if n not in ours | {"limit"}
    ]


def table(rows: list[Row]) -> str:
    """Every row: ours by the limit, the others by ours."""
    names = columns(rows)
    head = ["task", "row", "moves", "limit (ms)", "ours / limit", *(f"{n} / ours" for n in names)]
    head.append("steal (%)")
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for row in rows:
        cells = [row.case.task, label(row.case), " ".join(row.case.moves)]
        cells.append(f"{np.median(row.times['limit']) * 1e3:.3f}")
        for name, to in [(row.ours, "limit"), *((name, row.ours) for name in names)]:
            if name in row.times and len(row.times[name]):
                middle, low, high = ratio(row.times, name, to)
                cells.append(f"{middle:.2f} ({low:.2f}–{high:.2f})")
            else:
                cells.append("")
        cells.append(f"{row.steal:.0f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def summary(rows: list[Row]) -> str:
    """By shape file and task: the worst large row by the limit, others' means and worst rows."""
    files = dict.fromkeys(row.file for row in rows)
    parts = [f"{file}:\n\n{_summary([r for r in rows if r.file == file])}" for file in files]
    notes = [
        f"- {row.case.task}, {label(row.case)}: {name}: {text}"
        for row in rows
        for name, text in row.notes.items()
    ]
    return "\n\n".join([*parts, *(["Not timed:", "\n".join(notes)] if notes else [])])


def _summary(rows: list[Row]) -> str:
    lines = []
    for task in TASKS:
        own = [row for row in rows if row.case.task == task]
        large = [row for row in own if row.large]
        if large:
            worst = max(large, key=lambda row: ratio(row.times, row.ours, "limit")[0])
            middle = ratio(worst.times, worst.ours, "limit")[0]
            lines.append(f"- {task}, over 8 MB: worst {middle:.2f} × limit ({label(worst.case)})")
        for name in columns(own):
            found = [(ratio(r.times, name, r.ours)[0], r) for r in own if name in r.times]
            mean = math.exp(sum(math.log(value) for value, _ in found) / len(found))
            least, row = min(found, key=lambda pair: pair[0])
            lines.append(
                f"- {task}, {name} / ours: geometric mean {mean:.2f}, "
                f"least {least:.2f} ({label(row.case)})"
            )
        met = [row for row in own if not math.isnan(row.fastest)]
        if met:
            worst = min(met, key=lambda row: row.fastest)
            slower = sum(row.fastest < 1 for row in met)
            lines.append(
                f"- {task}, fastest framework / ours: least {worst.fastest:.2f} "
                f"({label(worst.case)}); below 1 in {slower} of {len(met)} rows"
            )
    return "\n".join(lines)


def plot(rows: list[Row], path: Path) -> None:
    """Time by the limit of every contender, a panel for each task."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = ["ours", *columns(rows)]
    colours = dict(zip(names, plt.get_cmap("tab20").colors, strict=False))
    figure, panels = plt.subplots(len(TASKS), 1, figsize=(15, 13), squeeze=False)
    for panel, task in zip(panels[:, 0], TASKS, strict=True):
        own = [row for row in rows if row.case.task == task]
        for offset, name in enumerate(names):
            places = [
                (i, row.ours if name == "ours" else name)
                for i, row in enumerate(own)
                if name == "ours" or name in row.times
            ]
            if places:
                heights = [ratio(own[i].times, key, "limit")[0] for i, key in places]
                width = 0.8 / len(names)
                at = [i + (offset - len(names) / 2) * width for i, _ in places]
                panel.bar(at, heights, width, label=name, color=colours[name])
        panel.set_yscale("log")
        panel.axhline(1, color="black", linewidth=0.8)
        panel.set_ylabel("time / limit")
        panel.set_title(task)
        panel.set_xticks(range(len(own)), [label(row.case) for row in own], fontsize=6, rotation=60)
    panels[0, 0].legend(ncols=len(names), fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=100)
