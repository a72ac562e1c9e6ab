"""The full table: `python -m benchmarks`. See `--help`."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import click
import numpy as np

import batchnorm as bn
from batchnorm.core import kernel
from batchnorm.measure import TASKS, ratio
from benchmarks import rows as shape_files
from benchmarks.frameworks import FRAMEWORKS
from benchmarks.table import Row, data, label, plot, summary, table
from benchmarks.turns import Contender, measure

LEVELS = list(kernel.IMPLEMENTATIONS)


def processor() -> str:
    """The processor's own name, its caches and vectors, as far as the system says."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    named = (line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line)
    caches = Path("/sys/devices/system/cpu/cpu0/cache")
    sizes = [
        f"L{(one / 'level').read_text().strip()} {(one / 'size').read_text().strip()}"
        for one in sorted(caches.glob("index*"))
        if (one / "type").read_text().strip() != "Instruction"
    ]
    vectors = ["AVX-512"] if "avx512f" in text else []
    return ", ".join([next(named, platform.machine()), *vectors, *sizes])


@click.command()
@click.option("--shapes", multiple=True, help="Shape file, by name or path. [all of shapes/]")
@click.option("--task", "tasks", multiple=True, type=click.Choice(TASKS), help="Only this task.")
@click.option("--rows", "pattern", default="", help="Only rows whose label has this text.")
@click.option("--contender", "wanted", multiple=True, help="Only these besides ours: v3, torch ...")
@click.option("--rounds", default=15, show_default=True, type=click.IntRange(3))
@click.option("--seconds", default=0.6, show_default=True, help="Most for one contender's row.")
@click.option(
    "--threads", default=bn.get_num_threads, type=click.IntRange(1), help="For all alike."
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the results.")
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
    as_json: bool,
) -> None:
    """Measure tasks x contenders x shapes, and write table.md, times.json and plot.png to --out.

    Every answer is compared with the NumPy reference before it is timed, every contender has a
    process of its own, and all take turns, with a pause between them. Times mean little from one
    run to the next: the table holds medians and quartiles of ratios within a round.
    """
    start = time.monotonic()
    names = shapes or sorted(path.stem for path in shape_files.SHAPES.glob("*.txt"))
    cases = [(name, case) for name in names for case in shape_files.read(name)]
    cases = [(name, case) for name, case in cases if not tasks or case.task in tasks]
    cases = [(name, case) for name, case in cases if pattern in label(case)]
    unknown = set(wanted) - set(LEVELS) - set(FRAMEWORKS)
    if unknown or not cases:
        known = ", ".join([*LEVELS, *FRAMEWORKS])
        raise click.UsageError(f"no row is left, or {sorted(unknown)} is none of {known}")
    levels = [LEVELS[0], *(name for name in LEVELS[1:] if not wanted or name in wanted)]
    contenders = [Contender("ours", threads)]
    for name in FRAMEWORKS:
        one = Contender(name, threads)
        found = one.ask("versions") if not wanted or name in wanted else {"error": ""}
        if "error" not in found:
            one.package, one.version = found["package"], found["version"]
            contenders.append(one)
            continue
        one.stop()
        if found["error"]:
            print(f"left out: {found['error']}", file=sys.stderr)
    rows = []
    for number, (file, case) in enumerate(cases, 1):
        times, notes = measure(case, contenders, levels, rounds, seconds)
        if "limit" not in times or levels[0] not in times:
            raise click.ClickException(f"{label(case)}: our own kernel fails: {notes}")
        rows.append(Row(case, times, notes, Path(file).stem))
        middle = ratio(times, levels[0], "limit")[0]
        left = (time.monotonic() - start) / number * (len(cases) - number)
        progress = f"{number}/{len(cases)} {case.task} {label(case)}: {middle:.2f} x limit"
        print(f"{progress}, {left / 60:.0f} min left", file=sys.stderr, flush=True)
        for name, text in notes.items():
            print(f"    {name}: {text}", file=sys.stderr)
    for one in contenders:
        one.stop()
    versions = [f"{one.package} {one.version}" for one in contenders[1:]]
    about = (
        f"{datetime.now(UTC):%Y-%m-%d}; {processor()}; {threads} threads of {os.cpu_count()} "
        f"processors; Python {platform.python_version()}, numpy {np.__version__}, "
        f"{', '.join(versions)}; {(time.monotonic() - start) / 60:.0f} minutes."
    )
    text = (
        f"# Benchmarks\n\n{about}\n\nMedians (quartiles) of ratios over up to {rounds} rounds, in "
        f"which all took turns, each after a pause and one call that isn't timed. Ours is "
        f"{levels[0]}, which writes into a given output.\n"
        f"`limit` is a plain loop that moves just the tensors named.\n\n{summary(rows)}\n\n"
        f"{table(rows)}\n"
    )
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "table.md").write_text(text)
        (out / "times.json").write_text(json.dumps({"about": about, "rows": data(rows)}) + "\n")
        try:
            plot(rows, out / "plot.png")
        except ImportError:
            print("no plot: matplotlib is not installed", file=sys.stderr)
    print(json.dumps({"about": about, "rows": data(rows)}) if as_json else text)


if __name__ == "__main__":
    main()
