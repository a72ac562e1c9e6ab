"""Shapes that nobody chose: `python -m benchmarks.random_shapes`, or `--draw` for another file.

Each row of `shapes/random.txt` goes three ways, ours and torch's in turns in one process: our core
function by torch's functional call, our layer by torch's module, and torch's module accelerated by
itself (`hosts.torch`), autograd included. All allocate their results, as their users get them. Not
here: the table of chosen shapes, and other frameworks (`python -m benchmarks`).
"""

from __future__ import annotations

import copy
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np

import batchnorm as bn
from batchnorm.cli.measure import Case, ratio
from batchnorm.vocabulary import Mode
from benchmarks.machine import Steal, processor
from benchmarks.rows import SHAPES, read
from benchmarks.table import label

QUIET = 0.01  # seconds
FILE = SHAPES / "random.txt"
HEAD = """\
# Drawn by `python -m benchmarks.random_shapes --draw {count} --seed {seed}`: rank 2 to 5,
# log-uniformly up to 2^24 values and 1 to 4096 channels, at least two values per channel.
"""
Pair = tuple[Callable[[], Any], Callable[[], Any]]


def draw(count: int, seed: int) -> str:
    """The text of a shape file."""
    rng, lines = np.random.default_rng(seed), [HEAD.format(count=count, seed=seed)]
    while len(lines) <= count:
        channels = int(2 ** rng.uniform(0, 12))
        rank, size = int(rng.integers(2, 6)), 2 ** rng.uniform(math.log2(2 * channels), 24)
        cuts = np.sort(rng.uniform(0, 1, rank - 2))
        parts = np.diff([0, *cuts, 1]) * math.log2(size / channels)
        n, *rest = (max(1, round(2**part)) for part in parts)
        if 2 <= n * math.prod(rest) <= 2**24 // channels:
            layout = "last" if rank > 2 and rng.integers(2) else "first"
            kind = "bfloat16" if rng.integers(2) else "float32"
            shape = " ".join(map(str, (n, channels, *rest)))
            lines.append(f"layouts {layout}\ntypes {kind}\n{shape}\n")
    return "".join(lines)


def pairs(case: Case) -> Iterator[tuple[str, str, Pair]]:
    """(way, task, (ours, torch's)) of a row."""
    import torch

    def tensor(array: np.ndarray) -> Any:
        narrow = case.dtype == "bfloat16"
        made = torch.from_numpy(array.view(np.uint16) if narrow else array)
        made = made.view(torch.bfloat16) if narrow else made
        return made if case.layout == "first" else made.movedim(-1, 1)

    def array(memory: np.ndarray) -> np.ndarray:
        return memory if case.layout == "first" else np.moveaxis(memory, -1, 1)

    memory, memory_dy = case.draw(0), case.draw(1)
    x, dy, tx, tdy = array(memory), array(memory_dy), tensor(memory), tensor(memory_dy)
    channels = case.shape[1]
    gamma, beta, mean, var = (np.full(channels, v, np.float32) for v in (1.5, 0.5, 0.25, 2.0))
    values = [torch.from_numpy(value.copy()) for value in (gamma, beta, mean, var)]

    running = bn.core.Running(mean, var)
    plain = bn.core.Settings((1,), Mode.RUNNING, 1e-5)
    update = bn.core.Settings((1,), Mode.BATCH_AND_UPDATE, 1e-5, 0.1, 1)
    run = torch.native_batch_norm

    def forward(how: bn.core.Settings) -> Pair:
        training = how is update
        return (
            lambda: bn.core.forward(x, gamma, beta, running, how),
            lambda: run(tx, *values, training, 0.1, 1e-5),
        )

    yield "core", "inference", forward(plain)
    yield "core", "training", forward(update)
    saved = bn.core.forward(x, gamma, beta, running, update)[2]
    _, own_mean, own_inv_std = run(tx, *values, True, 0.1, 1e-5)
    back = torch.ops.aten.native_batch_norm_backward
    rest = (values[0], *values[2:], own_mean, own_inv_std, True, 1e-5, [True, True, True])

    def backward() -> Any:
        return back(tdy, tx, *rest)

    yield "core", "backward", (lambda: bn.core.backward(saved, dy), backward)

    name = f"BatchNorm{max(1, len(case.shape) - 2)}d"
    module, layer = getattr(torch.nn, name)(channels), getattr(bn.torch, name)(channels)
    with torch.no_grad():
        yield "layer", "training", (lambda: layer(x), lambda: module(tx))
        layer(x)
        yield "layer", "backward", (lambda: layer.backward(dy), backward)
        still, frozen = copy.deepcopy(layer).eval(), copy.deepcopy(module).eval()
        yield "layer", "inference", (lambda: still(x), lambda: frozen(tx))
        quick = bn.hosts.torch.accelerate(copy.deepcopy(frozen))
        yield "host", "inference", (lambda: quick(tx), lambda: frozen(tx))
    ours = bn.hosts.torch.accelerate(copy.deepcopy(module))
    given = tx.detach().requires_grad_()

    def step(one: Any) -> None:
        given.grad = None
        one.zero_grad()
        one(given).backward(tdy)

    yield "host", "step", (lambda: step(ours), lambda: step(module))


def turns(ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int) -> dict[str, np.ndarray]:
    """Seconds of both in each round, by turns of about a millisecond.

    Before each turn comes a pause: torch's threads go on spinning for milliseconds after a call.
    """
    calls = {"ours": ours, "torch": theirs}
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds):
        for name in list(calls)[:: 1 if number % 2 else -1]:
            run = calls[name]
            time.sleep(QUIET)
            start = time.perf_counter()
            run()
            count = max(1, min(100, int(1e-3 / (time.perf_counter() - start))))
            start = time.perf_counter()
            for _ in range(count):
                run()
            times[name].append((time.perf_counter() - start) / count)
    return {name: np.array(found) for name, found in times.items()}


def report(found: dict[tuple[str, str], list[tuple[float, float, Case]]], worst: int) -> str:
    """Torch's time by ours: means, rows below 1, and the slowest."""
    lines = []
    for (way, task), rows in found.items():
        rows.sort(key=lambda row: row[0])
        mean = math.exp(sum(math.log(value) for value, _, _ in rows) / len(rows))
        slower = sum(value < 1 for value, _, _ in rows)
        lines.append(
            f"## {way}, {task}\n\nGeometric mean {mean:.2f}, slower than torch in {slower} of "
            f"{len(rows)} rows.\n\n| row | torch / ours | torch (µs) |\n| --- | --- | --- |"
        )
        lines += [f"| {label(c)} | {v:.2f} | {t * 1e6:.1f} |" for v, t, c in rows[:worst]]
        lines.append("")
    return "\n".join(lines)


@click.command()
@click.option("--draw", "count", type=click.IntRange(1), help="Write so many shapes, measure none.")
@click.option("--seed", default=0, show_default=True, help="For --draw.")
@click.option("--rows", default=0, help="Only the first so many. [all]")
@click.option("--rounds", default=7, show_default=True, type=click.IntRange(3))
@click.option("--threads", default=bn.get_num_threads, type=click.IntRange(1), help="For both.")
@click.option("--worst", default=10, show_default=True, help="Rows of each table.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the tables to this file.")
def main(
    count: int | None, seed: int, rows: int, rounds: int, threads: int, worst: int, out: Path | None
) -> None:
    """Measure our core, layers and host by torch's on random shapes, and print the worst rows."""
    if count is not None:
        FILE.write_text(draw(count, seed))
        return
    import torch

    torch.set_num_threads(threads)
    bn.set_num_threads(threads)
    cases = [case for case in read("random") if case.task == "training"][: rows or None]
    found: dict[tuple[str, str], list[tuple[float, float, Case]]] = {}
    with Steal() as taken:
        for number, case in enumerate(cases, 1):
            print(f"\r{number}/{len(cases)} {label(case)}   ", end="", file=sys.stderr, flush=True)
            for way, task, (ours, theirs) in pairs(case):
                times = turns(ours, theirs, rounds)
                value = ratio(times, "torch", "ours")[0]
                row = (value, float(np.median(times["torch"])), case)
                found.setdefault((way, task), []).append(row)
    print(file=sys.stderr)
    head = (
        f"# {len(cases)} random shapes\n\n`python -m benchmarks.random_shapes`: medians of "
        f"{rounds} paired rounds on {processor()}, {threads} threads, torch {torch.__version__}; "
        f"the host took {taken.percent:.0f} % of the processors' time meanwhile.\n\n"
    )
    text = head + report(found, worst)
    if out is not None:
        out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
