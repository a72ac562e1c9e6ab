"""Timing for benchmarks: contenders in turn, medians of ratios, and the limit of a row.

The limit is measured, not computed: a plain loop with the same threads and the best stores of the
machine that reads and writes what the row must move. A time says nothing from one run to the next;
a ratio of two contenders that took turns does. Not here: other frameworks (`benchmarks/`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from batchnorm import core
from batchnorm.core import kernel, reference
from batchnorm.vocabulary import Array, as_dtype

__all__ = ["TASKS", "Case", "best_limit", "ours", "ratio", "take_turns"]

TASKS = ("inference", "training", "backward")


@dataclass(frozen=True)
class Case:
    """One row: a task on a tensor of (N, C, H, W) in one layout and type."""

    task: str
    shape: tuple[int, ...]
    layout: str
    dtype: str = "float32"

    @property
    def axes(self) -> tuple[int, ...]:
        """The channel axis in memory."""
        return (1,) if self.layout == "first" else (len(self.shape) - 1,)

    def draw(self, seed: int = 0) -> Array:
        """Values in this row's layout."""
        n, c, *rest = self.shape
        shape = (n, c, *rest) if self.layout == "first" else (n, *rest, c)
        values = np.random.default_rng(seed).standard_normal(shape, np.float32)
        found = core.empty_like(np.empty(shape, as_dtype(self.dtype)))
        found[...] = values + np.float32(0.5)
        return found


def ours(case: Case, x: Array, dy: Array, out: Array, name: str) -> Callable[[], object]:
    """The row's task by one of our implementations, writing into `out`."""
    channels, axes = case.shape[1], case.axes
    gamma, beta = np.full(channels, 1.5, np.float32), np.full(channels, 0.5, np.float32)
    mean, var = np.full(channels, 0.25, np.float32), np.full(channels, 2.0, np.float32)
    one = kernel.IMPLEMENTATIONS[name]
    if name == "reference":
        return _by_halves(case, x, dy, out, one, (gamma, beta, mean, var))
    if case.task == "inference":
        return lambda: one.infer(x, axes, gamma, beta, mean, var, 1e-5, out, False, None)
    if case.task == "training":
        return lambda: one.forward(x, axes, gamma, beta, mean, var, 1e-5, 0.1, 1, out, False, None)
    stats = one.forward(x, axes, gamma, beta, None, None, 1e-5, 0.1, 1, None, False, None)[3]
    return lambda: one.backward(x, dy, axes, stats, gamma, True, 1e-5, None, out, None)


def _by_halves(
    case: Case, x: Array, dy: Array, out: Array, one: object, values: tuple[Array, ...]
) -> Callable[[], object]:
    gamma, beta, mean, var = (value.astype(np.float64) for value in values)
    axes, zero = case.axes, np.zeros(case.shape[1])

    def run() -> object:
        if case.task == "inference":
            inv_std = 1 / np.sqrt(var + 1e-5)
            return reference.normalize(x, axes, mean, zero, inv_std, gamma, beta, out)
        moments = reference.reduce(x, axes)
        stats = moments.mean, moments.residual, 1 / np.sqrt(moments.variance() + 1e-5)
        if case.task == "training":
            return reference.normalize(x, axes, *stats, gamma, beta, out)
        sums = reference.reduce_gradient(x, dy, axes, *stats)
        constant, slope = (total / moments.count for total in sums)
        return reference.input_gradient(x, dy, axes, *stats, gamma, constant, slope, None, out)

    return run


def best_limit(case: Case, x: Array, dy: Array, out: Array) -> Callable[[], object]:
    """The loop that moves what the row must move, with the kind of store that is faster here.

    Inference reads x and writes y. Training reads x once where a channel's values stay in the
    cache between statistics and normalization (channels first), else twice. So does backward with
    x and dy.
    """
    mover = next(one for name, one in kernel.IMPLEMENTATIONS.items() if name != "reference")
    move = mover._kernel.move
    flat = [array.reshape(-1).view(np.uint8) for array in (x, dy, out)]
    inputs = [flat[0], flat[1]] if case.task == "backward" else [flat[0]]
    twice = case.layout == "last" and case.task != "inference"

    def run(stream: bool) -> None:
        if twice:
            move(inputs, None, False)
        move(inputs, flat[2], stream)

    kinds = {"through": lambda: run(False), "around": lambda: run(True)}
    times = take_turns(kinds, 5)
    return min(kinds.items(), key=lambda kind: float(np.median(times[kind[0]])))[1]


def take_turns(
    contenders: Mapping[str, Callable[[], object]], rounds: int, seconds: float = 0.0
) -> dict[str, Array]:
    """Seconds of every contender in each of `rounds` rounds, in which all take a turn.

    Where a task takes less than `seconds`, a turn repeats it and gives the average.
    """
    repeats, times = {}, {name: np.empty(rounds) for name in contenders}
    for name, run in contenders.items():
        run()
        start = time.perf_counter()
        run()
        repeats[name] = max(1, int(seconds / max(time.perf_counter() - start, 1e-7)))
    for turn in range(rounds):
        for name in list(contenders)[:: 1 if turn % 2 else -1]:
            run, count = contenders[name], repeats[name]
            start = time.perf_counter()
            for _ in range(count):
                run()
            times[name][turn] = (time.perf_counter() - start) / count
    return times


def ratio(times: Mapping[str, Array], name: str, to: str) -> tuple[float, float, float]:
    """Median and quartiles of one contender's time by another's of the same round."""
    middle, low, high = np.quantile(times[name] / times[to], [0.5, 0.25, 0.75])
    return float(middle), float(low), float(high)
