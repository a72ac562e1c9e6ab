"""`batchnorm bench`: how fast this machine runs the kernel, against what its memory allows.

Ours only: each level and the NumPy reference, beside the measured limit. The table with the
frameworks is `python -m benchmarks` in the source tree.
"""

from __future__ import annotations

import sys
from typing import Any

import click
import numpy as np

from batchnorm.cli.measure import TASKS, Case, limit, ours, ratio, take_turns
from batchnorm.cli.output import echo, echo_json, is_terminal
from batchnorm.core import kernel
from batchnorm.core.threads import get_num_threads, set_num_threads
from batchnorm.errors import InvalidValue

__all__ = ["command"]

LAYOUTS = ("first", "last")


@click.command()
@click.option("--shape", default="32,256,28,28", show_default=True, help="N,C,... of the tensor.")
@click.option(
    "--dtype",
    default="float32",
    show_default=True,
    type=click.Choice(["float32", "float64", "float16", "bfloat16"]),
    help="Type of its values.",
)
@click.option("--task", "tasks", multiple=True, type=click.Choice(TASKS), help="Only this task.")
@click.option("--layout", "layouts", multiple=True, type=click.Choice(LAYOUTS), help="Only these.")
@click.option("--level", "levels", multiple=True, help="Only these: v4, v3, v2, reference.")
@click.option("--rounds", default=11, show_default=True, type=click.IntRange(1), help="Turns each.")
@click.option("--threads", type=click.IntRange(1), help="Threads. [those of the machine]")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")
def command(
    shape: str,
    dtype: str,
    tasks: tuple[str, ...],
    layouts: tuple[str, ...],
    levels: tuple[str, ...],
    rounds: int,
    threads: int | None,
    as_json: bool,
) -> None:
    """Time the kernel on this machine: each level, the reference, and the limit of its memory.

    A level's number is its time by that of a plain loop that only moves the same tensors: median
    and quartiles over rounds in which all take turns.
    """
    lengths = _lengths(shape)
    names = list(kernel.IMPLEMENTATIONS)
    unknown = sorted(set(levels) - set(names))
    if unknown:
        raise InvalidValue(f"--level takes {', '.join(names)} on this machine, but got {unknown}")
    before = get_num_threads()
    set_num_threads(threads or before)
    found = []
    try:
        for task in tasks or TASKS:
            for layout in layouts or LAYOUTS:
                if is_terminal(sys.stderr):
                    print(f"{task}, channels {layout} ...", end="\r", file=sys.stderr, flush=True)
                case = Case(task, lengths, layout, dtype)
                found.append(_measure(case, levels or tuple(names), rounds))
                if not as_json:
                    echo(_line(found[-1]))
    finally:
        set_num_threads(before)
    if as_json:
        echo_json({"threads": threads or before, "rows": found})


def _lengths(shape: str) -> tuple[int, ...]:
    try:
        lengths = tuple(int(part) for part in shape.split(","))
    except ValueError:
        raise InvalidValue(f"--shape must be lengths such as 32,64,56,56, got {shape!r}") from None
    if len(lengths) < 2 or min(lengths) < 1:
        raise InvalidValue(f"--shape needs at least N,C, each above 0, but got {shape!r}")
    return lengths


def _measure(case: Case, levels: tuple[str, ...], rounds: int) -> dict[str, Any]:
    x, dy, out = case.draw(0), case.draw(1), case.draw(2)
    contenders = {"limit": limit(case, x, dy, out)}
    contenders |= {name: ours(case, x, dy, out, name) for name in levels}
    times = take_turns(contenders, rounds, 2e-4)
    ratios = {name: ratio(times, name, "limit") for name in levels}
    return {
        "task": case.task,
        "layout": case.layout,
        "shape": list(case.shape),
        "dtype": case.dtype,
        "limit_seconds": float(np.median(times["limit"])),
        "by_limit": {
            name: dict(zip(("median", "low", "high"), three, strict=True))
            for name, three in ratios.items()
        },
    }


def _line(row: dict[str, Any]) -> str:
    cells = [f"limit {row['limit_seconds'] * 1e3:8.3f} ms"]
    for name, by in row["by_limit"].items():
        cells.append(f"{name} {by['median']:.2f} ({by['low']:.2f}-{by['high']:.2f})")
    return f"{row['task']:>9}, channels {row['layout']:<5}  " + "  ".join(cells)
