"""Timing for benchmarks: rows, our contenders, turns, medians of ratios, and the limit of a row.

The limit is measured, not computed: a plain loop with the same threads and the best stores of the
machine that reads and writes what the row must move. A time says nothing from one run to the next;
a ratio of two contenders that took turns does. Not here: other frameworks (`benchmarks/`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from batchnorm import core
from batchnorm.core import kernel, reference
from batchnorm.errors import InvalidValue
from batchnorm.vocabulary import Array, as_dtype

__all__ = ["MOVES", "TASKS", "Case", "limit", "ours", "ratio", "take_turns"]

TASKS = ("inference", "training", "backward")
MOVES = {  # where a block of channels stays in a core's cache, and the whole tensor doesn't
    ("inference", "first"): ("x", "y"),
    ("inference", "last"): ("x", "y"),
    ("training", "first"): ("x", "y"),
    ("training", "last"): ("x", "x", "y"),
    ("backward", "first"): ("x", "dy", "dx"),
    ("backward", "last"): ("x", "dy", "x", "dy", "dx"),
}


@dataclass(frozen=True)
class Case:
    """One row: a task on a tensor of (N, C, ...) in one layout and type, and what it must move."""

    task: str
    shape: tuple[int, ...]
    layout: str
    dtype: str = "float32"
    moves: tuple[str, ...] = ()

    @property
    def axes(self) -> tuple[int, ...]:
        """The channel axis in memory."""
        return (1,) if self.layout == "first" else (len(self.shape) - 1,)

    @property
    def memory_shape(self) -> tuple[int, ...]:
        """The shape in the order of memory."""
        n, c, *rest = self.shape
        return (n, c, *rest) if self.layout == "first" else (n, *rest, c)

    @property
    def nbytes(self) -> int:
        """The bytes of x."""
        return math.prod(self.shape) * as_dtype(self.dtype).itemsize

    def draw(self, seed: int = 0) -> Array:
        """Values in this row's layout."""
        values = np.random.default_rng(seed).standard_normal(self.memory_shape, np.float32)
        found = core.empty_like(np.empty(self.memory_shape, as_dtype(self.dtype)))
        found[...] = values + np.float32(0.5)
        return found


def ours(case: Case, x: Array, dy: Array, out: Array, name: str) -> Callable[[], object]:
    """The row's task by one of our implementations, writing into `out`."""
    channels, axes = case.shape[1], case.axes
    gamma, beta = np.full(channels, 1.5, np.float32), np.full(channels, 0.5, np.float32)
    mean, var = np.full(channels, 0.25, np.float32), np.full(channels, 2.0, np.float32)
    one = kernel.IMPLEMENTATIONS[name]
    if name == "reference":
        return _by_halves(case, x, dy, out, (gamma, beta, mean, var))
    if case.task == "inference":
        return lambda: one.infer(x, axes, gamma, beta, mean, var, 1e-5, out, False, None)
    if case.task == "training":
        return lambda: one.forward(x, axes, gamma, beta, mean, var, 1e-5, 0.1, 1, out, False, None)
    stats = one.forward(x, axes, gamma, beta, None, None, 1e-5, 0.1, 1, None, False, None)[3]
    return lambda: one.backward(x, dy, axes, stats, gamma, True, 1e-5, None, out, None)


def _by_halves(
    case: Case, x: Array, dy: Array, out: Array, values: tuple[Array, ...]
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


def limit(case: Case, x: Array, dy: Array, out: Array) -> Callable[[], object]:
    """The loop that moves what the row must move, with the kind of store that is faster here.

    The last tensor of `case.moves` is written, in one sweep with the last reads of the others; what
    is read twice is read in a sweep of its own before.
    """
    mover = next((one for name, one in kernel.IMPLEMENTATIONS.items() if name != "reference"), None)
    if mover is None:
        raise InvalidValue("the limit is a compiled loop: unset BATCHNORM_KERNEL=reference")
    move = mover._kernel.move
    moves = case.moves or MOVES[case.task, case.layout]
    flat = {"x": x.reshape(-1).view(np.uint8), "dy": dy.reshape(-1).view(np.uint8)}
    result = out.reshape(-1).view(np.uint8)
    names = list(dict.fromkeys(moves[:-1]))
    first = [flat[name] for name in names if moves.count(name) == 2]
    rest = [flat[name] for name in names]

    def run(stream: bool) -> None:
        if first:
            move(first, None, False)
        move(rest, result, stream)

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
    """Median and quartiles of one contender's time by another's, over the rounds both took."""
    rounds = min(len(times[name]), len(times[to]))
    of, by = times[name][:rounds], times[to][:rounds]
    middle, low, high = np.quantile(of / by, [0.5, 0.25, 0.75])
    return float(middle), float(low), float(high)
