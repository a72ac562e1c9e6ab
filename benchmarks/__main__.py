"""Measure every task, layout, shape and contender; write a Markdown table and a plot.

python -m benchmarks [--shapes resnet50 small] [--rounds 15] [--out benchmarks/results]
"""

from __future__ import annotations

import argparse
import importlib.metadata
import math
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from batchnorm import _kernel
from batchnorm.core import kernel
from batchnorm.measure import TASKS, Case, best_limit, ours, ratio, take_turns
from benchmarks.contenders import CONTENDERS, as_numpy, torch_call

HERE = Path(__file__).parent
# On what is compared, every contender is right to float32; what is off by more is not timed.
TOLERANCE = 2e-4


def read_shapes(name: str) -> list[tuple[int, ...]]:
    lines = (HERE / "shapes" / f"{name}.txt").read_text().splitlines()
    return [tuple(map(int, line.split())) for line in lines if line and not line.startswith("#")]


def contenders_of(case: Case, wanted: list[str]) -> dict[str, object]:
    """All that take the row and agree on its answer, the limit first, ours second."""
    x, dy = case.draw(0), case.draw(1)
    out, other = np.zeros_like(case.draw(2)), case.draw(3)
    found = {"limit": best_limit(case, x, dy, out)}
    found["ours"] = ours(case, x, dy, out, next(iter(kernel.IMPLEMENTATIONS)))
    truth_out = np.empty_like(out)
    ours(case, x, dy, truth_out, "reference")()
    for level in list(kernel.IMPLEMENTATIONS)[1:]:
        if level in wanted:
            found[level] = ours(case, x, dy, out, level)
    for name in wanted:
        try:
            run = CONTENDERS[name](case, x, dy) if name in CONTENDERS else None
        except ModuleNotFoundError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
            continue
        if run is not None:
            found[name] = run
    if "torch" in wanted and case.task != "backward":
        found["torch out="] = torch_call(case, x, dy, other)
    for name in list(found)[1:]:
        result = found[name]()
        result = out if name in kernel.IMPLEMENTATIONS or name == "ours" else as_numpy(case, result)
        error = float(np.abs(result - truth_out).max() / np.abs(truth_out).max())
        if error > TOLERANCE:
            print(f"{case}: {name} is off by {error:.1e} and is not timed", file=sys.stderr)
            del found[name]
    return found


def measure(names: list[str], wanted: list[str], rounds: int) -> list[tuple[Case, dict]]:
    cases = [
        Case(task, shape, layout)
        for name in names
        for shape in read_shapes(name)
        for task in TASKS
        for layout in ("first", "last")
        if layout == "first" or (len(shape) == 4 and shape[2] > 1)
    ]
    rows = []
    for number, case in enumerate(cases, 1):
        times = take_turns(contenders_of(case, wanted), rounds, 2e-4)
        middle = ratio(times, "ours", "limit")[0]
        print(f"{number}/{len(cases)} {case}: {middle:.2f} x limit", file=sys.stderr, flush=True)
        rows.append((case, times))
    return rows


def table(rows: list[tuple[Case, dict]]) -> str:
    names = sorted({name for _, times in rows for name in times} - {"limit", "ours"})
    head = [
        "task",
        "shape",
        "layout",
        "limit (ms)",
        "ours / limit",
        *(f"{n} / ours" for n in names),
    ]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for case, times in rows:
        cells = [case.task, "×".join(map(str, case.shape)), f"channels {case.layout}"]
        cells.append(f"{np.median(times['limit']) * 1e3:.3f}")
        for name, to in [("ours", "limit"), *((n, "ours") for n in names)]:
            if name in times:
                middle, low, high = ratio(times, name, to)
                cells.append(f"{middle:.2f} ({low:.2f}–{high:.2f})")
            else:
                cells.append("")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def summary(rows: list[tuple[Case, dict]]) -> str:
    """Geometric means and worst rows."""
    lines = []
    for task in TASKS:
        own = [(case, times) for case, times in rows if case.task == task]
        large = [(c, t) for c, t in own if math.prod(c.shape) * 4 > 8 << 20]
        if large:
            worst = max(large, key=lambda row: ratio(row[1], "ours", "limit")[0])
            middle = ratio(worst[1], "ours", "limit")[0]
            shape = "×".join(map(str, worst[0].shape))
            lines.append(
                f"- {task}, over 8 MB: worst {middle:.2f} × limit ({shape}, {worst[0].layout})"
            )
        for name in sorted({name for _, times in own for name in times} - {"limit", "ours"}):
            found = [(ratio(t, name, "ours")[0], c) for c, t in own if name in t]
            mean = math.exp(sum(math.log(r) for r, _ in found) / len(found))
            least, case = min(found, key=lambda pair: pair[0])
            shape = "×".join(map(str, case.shape))
            lines.append(
                f"- {task}, {name} / ours: geometric mean {mean:.1f}, "
                f"least {least:.2f} ({shape}, {case.layout})"
            )
    return "\n".join(lines)


def plot(rows: list[tuple[Case, dict]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = ["ours", *sorted({n for _, t in rows for n in t} - {"limit", "ours"})]
    figure, panels = plt.subplots(len(TASKS), 1, figsize=(14, 11))
    for panel, task in zip(panels, TASKS, strict=True):
        own = [(case, times) for case, times in rows if case.task == task]
        for offset, name in enumerate(names):
            points = [(i, ratio(t, name, "limit")[0]) for i, (_, t) in enumerate(own) if name in t]
            if points:
                at, heights = zip(*points, strict=True)
                width = 0.8 / len(names)
                panel.bar([i + offset * width for i in at], heights, width, label=name)
        panel.set_yscale("log")
        panel.axhline(1, color="black", linewidth=0.8)
        panel.set_ylabel("time / limit")
        panel.set_title(task)
        labels = ["×".join(map(str, c.shape)) + f"\n{c.layout}" for c, _ in own]
        panel.set_xticks(range(len(own)), labels, fontsize=6, rotation=60)
    panels[0].legend(ncols=len(names), fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def versions(wanted: list[str]) -> str:
    packages = {"tensorflow": "tensorflow_cpu"}
    found = [f"numpy {np.__version__}"]
    for name in wanted:
        try:
            found.append(f"{name} {importlib.metadata.version(packages.get(name, name))}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def processor() -> str:
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = next((v for v in text.splitlines() if v.startswith("model name")), platform.machine())
    avx512 = ", AVX-512" if "avx512f" in text else ""
    return f"{model.partition(':')[2].strip() or model}{avx512}, {_kernel.num_threads()} threads"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", nargs="+", default=["resnet50", "small"])
    parser.add_argument("--contenders", nargs="*", default=["v3", *CONTENDERS])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=HERE / "results")
    options = parser.parse_args()
    rows = measure(options.shapes, options.contenders, options.rounds)
    text = (
        f"# Benchmarks\n\n{datetime.now(UTC):%Y-%m-%d}, {processor()}; "
        f"{versions(options.contenders)}.\nMedians (quartiles) over {options.rounds} rounds in "
        f"which all took turns.\n\n{summary(rows)}\n\n{table(rows)}\n"
    )
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "table.md").write_text(text)
    try:
        plot(rows, options.out / "plot.png")
    except ImportError:
        print("no plot: matplotlib is not installed", file=sys.stderr)
    print(text)


if __name__ == "__main__":
    main()
