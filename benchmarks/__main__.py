"""The full table: `python -m benchmarks`. See `--help`."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np

import batchnorm as bn
from batchnorm.cli.measure import TASKS, ratio
from batchnorm.core import kernel
from benchmarks import rows as shape_files
from benchmarks.frameworks import FRAMEWORKS
from benchmarks.machine import Steal, processor
from benchmarks.results import Results
from benchmarks.table import LARGE, Row, label
from benchmarks.turns import Contender, measure

LEVELS = list(kernel.IMPLEMENTATIONS)


def kernel_digest() -> str:
    """Of the compiled kernel's file: rows of two kernels don't belong into one table."""
    module = sys.modules.get("batchnorm._kernel")
    file = getattr(module, "__file__", None)
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:12] if file else "none"


def settle(wanted: tuple[str, ...], threads: int) -> list[Contender]:
    """Ours and the frameworks that can be had, each with its version."""
    found = [Contender("ours", threads)]
    for name in FRAMEWORKS:
        if wanted and name not in wanted:
            continue
        one = Contender(name, threads)
        answer = one.ask("versions")
        if "error" in answer:
            one.stop()
            print(f"left out: {answer['error']}", file=sys.stderr)
        else:
            one.package, one.version = answer["package"], answer["version"]
            found.append(one)
    return found


def begun(out: Path | None) -> Results:
    """What --out holds already."""
    try:
        if out is not None:
            return Results.read(out)
    except (OSError, KeyError, ValueError):
        pass
    raise click.UsageError(f"--resume needs --out with the times.json of a run, not {out}")


def resumed(found: Results, setting: dict[str, Any]) -> Results:
    """One more run of the same setting."""
    other = [name for name in setting if found.setting.get(name) != setting[name]]
    if other:
        raise click.UsageError(
            f"--out was measured with another {', '.join(other)}; without --resume it is replaced"
        )
    return replace(found, runs=found.runs + 1)


@click.command()
@click.option(
    "--shapes", multiple=True, help="Shape file, by name or path. [all of shapes/ but random]"
)
@click.option("--task", "tasks", multiple=True, type=click.Choice(TASKS), help="Only this task.")
@click.option("--rows", "pattern", default="", help="Only rows whose label has this text.")
@click.option("--contender", "wanted", multiple=True, help="Only these besides ours: v3, torch ...")
@click.option("--rounds", default=15, show_default=True, type=click.IntRange(3))
@click.option("--seconds", default=0.6, show_default=True, help="Most for one contender's row.")
@click.option(
    "--threads", default=bn.get_num_threads, type=click.IntRange(1), help="For all alike."
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the results.")
@click.option("--resume", is_flag=True, help="Keep the rows that --out has of this very setting.")
@click.option(
    "--steal",
    "most_steal",
    default=100.0,
    show_default=True,
    type=click.FloatRange(0, 100),
    help="With --resume: keep no row during which a hypervisor took more percent than this.",
)
@click.option("--quick", is_flag=True, help="Some rows up to 8 MB against torch: three minutes.")
@click.option("--json", "as_json", is_flag=True, help="Print all times as JSON, not the table.")
def main(
    shapes: tuple[str, ...],
    tasks: tuple[str, ...],
    pattern: str,
    wanted: tuple[str, ...],
    rounds: int,
    seconds: float,
    threads: int,
    out: Path | None,
    resume: bool,
    most_steal: float,
    quick: bool,
    as_json: bool,
) -> None:
    """Measure tasks x contenders x shapes, and write table.md, times.json and plot.png to --out.

    Every answer is compared with the NumPy reference before it is timed, every contender has a
    process of its own, and all take turns, with a pause between them. Times mean little from one
    run to the next: the table holds medians and quartiles of ratios within a round.
    """
    files = {path.stem for path in shape_files.SHAPES.glob("*.txt")}
    names = shapes or sorted(files - {"random"})  # see benchmarks.random_shapes
    if quick:
        wanted, rounds, seconds = wanted or ("torch",), min(rounds, 5), min(seconds, 0.2)
    cases = [(Path(name).stem, case) for name in names for case in shape_files.read(name)]
    cases = [(name, case) for name, case in cases if not tasks or case.task in tasks]
    cases = [(name, case) for name, case in cases if pattern in label(case)]
    if quick:
        cases = [(name, case) for name, case in cases if case.nbytes <= LARGE]
    unknown = set(wanted) - set(LEVELS) - set(FRAMEWORKS)
    if unknown or not cases:
        known = ", ".join([*LEVELS, *FRAMEWORKS])
        raise click.UsageError(f"no row is left, or {sorted(unknown)} is none of {known}")
    levels = [LEVELS[0], *(name for name in LEVELS[1:] if not wanted or name in wanted)]
    found = begun(out) if resume else None  # before the frameworks are loaded
    contenders = settle(wanted, threads)
    versions = [f"Python {platform.python_version()}", f"numpy {np.__version__}"]
    versions += [f"{one.package} {one.version}" for one in contenders[1:]]
    setting = {"processor": processor(), "processors": os.cpu_count(), "threads": threads}
    setting |= {"versions": versions, "kernel": kernel_digest(), "levels": levels}
    setting |= {"rounds": rounds, "seconds": seconds}
    new = Results(setting, f"{datetime.now(UTC):%Y-%m-%d}")
    results = resumed(found, setting) if found else new
    left = [key for key in cases if key not in results.rows or results.rows[key].steal > most_steal]
    print(f"{len(left)} of {len(cases)} rows to measure", file=sys.stderr)
    earlier = results.seconds
    for number, (file, case) in enumerate(left, 1):
        before = time.monotonic()
        with Steal() as taken:
            times, notes = measure(case, contenders, levels, rounds, seconds)
        if "limit" not in times or levels[0] not in times:
            raise click.ClickException(f"{label(case)}: our own kernel fails: {notes}")
        results.rows[file, case] = Row(case, times, notes, file, taken.percent)
        results.rows = {k: results.rows[k] for k in cases if k in results.rows} | results.rows
        results.seconds += time.monotonic() - before
        if out is not None:
            results.write(out)
        middle = ratio(times, levels[0], "limit")[0]
        minutes = (results.seconds - earlier) / number * (len(left) - number) / 60
        progress = f"{number}/{len(left)} {case.task} {label(case)}: {middle:.2f} x limit"
        print(f"{progress}, {minutes:.0f} min left", file=sys.stderr, flush=True)
        for name, text in notes.items():
            print(f"    {name}: {text}", file=sys.stderr)
    for one in contenders:
        one.stop()
    if out is not None:
        try:
            results.draw(out)
        except ImportError:
            print("no plot: matplotlib is not installed", file=sys.stderr)
    print(json.dumps(results.data) if as_json else results.text)


if __name__ == "__main__":
    main()
