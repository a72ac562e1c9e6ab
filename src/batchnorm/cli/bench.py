"""`batchnorm bench`: how fast this machine runs the kernel, against what its memory allows.

Ours only: each level and the NumPy reference, beside the measured limit. The table with the
frameworks is `python -m benchmarks` in the source tree.
"""

from __future__ import annotations

import sys

import click
import numpy as np

from batchnorm.core import kernel
from batchnorm.errors import InvalidValue
from batchnorm.measure import TASKS, Case, best_limit, ours, ratio, take_turns

__all__ = ["command"]


@click.command()
@click.option("--shape", default="32,256,28,28", show_default=True, help="N,C,... of the tensor.")
@click.option(
    "--dtype",
    default="float32",
    show_default=True,
    type=click.Choice(["float32", "float64", "float16", "bfloat16"]),
    help="Type of its values.",
)
@click.option("--rounds", default=11, show_default=True, type=click.IntRange(1), help="Turns each.")
def command(shape: str, dtype: str, rounds: int) -> None:
    """Time the kernel on this machine: each level, the reference, and the limit of its memory."""
    try:
        lengths = tuple(int(part) for part in shape.split(","))
    except ValueError:
        raise InvalidValue(f"--shape must be lengths such as 32,64,56,56, got {shape!r}") from None
    if len(lengths) < 2 or min(lengths) < 1:
        raise InvalidValue(f"--shape needs at least N,C, each above 0, but got {shape!r}")
    if len(kernel.IMPLEMENTATIONS) == 1:
        raise InvalidValue("bench measures the compiled kernel: unset BATCHNORM_KERNEL=reference")
    cases = [Case(task, lengths, layout, dtype) for task in TASKS for layout in ("first", "last")]
    for case in cases:
        print(f"{case.task}, channels {case.layout} ...", end="\r", file=sys.stderr, flush=True)
        x, dy, out = case.draw(0), case.draw(1), case.draw(2)
        found = {"limit": best_limit(case, x, dy, out)}
        for name in kernel.IMPLEMENTATIONS:
            found[name] = ours(case, x, dy, out, name)
        times = take_turns(found, rounds, 2e-4)
        cells = [f"limit {np.median(times['limit']) * 1e3:8.3f} ms"]
        for name in kernel.IMPLEMENTATIONS:
            middle, low, high = ratio(times, name, "limit")
            cells.append(f"{name} {middle:.2f} ({low:.2f}-{high:.2f})")
        click.echo(f"{case.task:>9}, channels {case.layout:<5}  " + "  ".join(cells))
