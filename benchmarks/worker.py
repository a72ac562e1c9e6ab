"""One contender's process: builds what a row asks for, checks its answer, and times its turns.

Started by `turns.py` as `python -m benchmarks.worker NAME THREADS`, with which it talks in lines of
JSON; x, dy and the right answer come as files that both map. `ours` is a contender like the others.
What frameworks print goes to standard error.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import batchnorm as bn
from batchnorm.cli.measure import Case, limit, ours
from batchnorm.vocabulary import as_dtype
from benchmarks.frameworks import FRAMEWORKS, as_numpy

__all__: list[str] = []

# Of the largest value. What is off by more is not timed.
TOLERANCE = {"float32": 2e-4, "float64": 1e-10, "float16": 4e-3, "bfloat16": 3e-2}
QUIET = 0.015  # seconds
PACKAGES = {"tensorflow": ["tensorflow-cpu", "tensorflow"], "ours": ["numpy"]}


class Worker:
    """The calls of the present row."""

    def __init__(self, name: str, threads: int) -> None:
        self.name, self.threads = name, threads
        self.calls: dict[str, Callable[[], Any]] = {}
        bn.set_num_threads(threads)
        # Whatever a framework's own setting is called: it sees no more processors than that.
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])

    def versions(self) -> dict[str, Any]:
        """The framework's version; an error where it is not installed."""
        for package in PACKAGES.get(self.name, [self.name]):
            try:
                version = importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                continue
            return {"package": package, "version": version}
        return {"error": f"{self.name} is not installed"}

    def row(self, case: dict[str, Any], folder: str, levels: list[str]) -> dict[str, Any]:
        """Build the calls of a row and keep those whose answer is right."""
        self.calls = {}
        row = Case(**{**case, "shape": tuple(case["shape"]), "moves": tuple(case["moves"])})
        x, dy = (self._map(folder, name, row) for name in ("x", "dy"))
        if self.name == "ours":
            out = bn.core.empty_like(x)
            out[...] = 0
            self.calls["limit"] = limit(row, x, dy, out)
            for level in levels:
                self.calls[level] = ours(row, x, dy, out, level)
            if row.dtype in ("float16", "bfloat16"):  # what the narrower type gains
                wide = [array.astype(np.float32) for array in (x, dy, out)]
                self.calls["float32"] = ours(replace(row, dtype="float32"), *wide, levels[0])
            built: dict[str, Callable[[], Any]] = {
                level: lambda level=level: (self.calls[level](), out)[1] for level in levels
            }
        else:
            self.calls = dict(FRAMEWORKS[self.name](row, x, dy, self.threads))
            built = dict(self.calls)
        truth = np.load(Path(folder) / "truth.npy", mmap_mode="r")
        refused = {}
        for name, call in built.items():
            error = _error(as_numpy(row, call()), truth)
            if not error <= TOLERANCE[row.dtype]:
                refused[name] = f"off by {error:.1e} of the largest value"
                del self.calls[name]
        return {"names": list(self.calls), "refused": refused}

    def turn(self, name: str, count: int) -> dict[str, Any]:
        """Average seconds of so many calls, after one that wakes threads and fills caches.

        Before them comes a pause: some frameworks' threads go on spinning for milliseconds after
        their last call, on processors that this contender needs.
        """
        run = self.calls[name]
        time.sleep(QUIET)
        run()
        start = time.perf_counter()
        for _ in range(count):
            run()
        return {"seconds": (time.perf_counter() - start) / count}

    @staticmethod
    def _map(folder: str, name: str, row: Case) -> np.ndarray:
        """A copy in memory of this process: what is mapped from a file is slower to read."""
        found = np.load(Path(folder) / f"{name}.npy", mmap_mode="r")
        copy = bn.core.empty_like(np.empty(found.shape, as_dtype(row.dtype)))
        copy.view(found.dtype)[...] = found
        return copy


def _error(found: np.ndarray, truth: np.ndarray) -> float:
    """The largest difference by the largest value, in pieces that take little memory."""
    if found.shape != truth.shape:
        raise ValueError(f"the answer has shape {found.shape} where {truth.shape} is right")
    worst = largest = 0.0
    for a, b in zip(found, truth, strict=True):
        worst = max(worst, float(np.abs(a - b).max()))
        largest = max(largest, float(np.abs(b).max()))
    return worst / largest


def main() -> None:
    """Answer each line of standard input by one of standard output."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # frameworks print
    worker = Worker(sys.argv[1], int(sys.argv[2]))
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            done = getattr(worker, asked.pop("do"))(**asked)
        except Exception as error:  # whatever a framework does: a line in the table's notes
            done = {"error": f"{type(error).__name__}: {error}"[:300]}
        answers.write(json.dumps(done) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
