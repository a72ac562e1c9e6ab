"""Interrupt writers: python tests/checkpoints/interrupting.py kill|full FORMAT FOLDER COUNT

`kill` ends forked writers by SIGKILL after random times; `full` lets the file grow only so far, as
a full disk does. Prints how often the old file, the new file, or neither was there afterwards.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

from batchnorm import checkpoints
from batchnorm.checkpoints.atomic import SUFFIX
from batchnorm.checkpoints.detection import FORMATS
from batchnorm.errors import CheckpointError

DATA = Path(__file__).parents[1] / "data" / "checkpoints"
LAYERS = {f"bn{i}": {"class_name": "BatchNormalization"} for i in range(6)}


def content(value: float) -> dict[str, np.ndarray]:
    size = 8_000
    return {
        f"{layer}/{w}": np.full(size, value, "f4") for layer in LAYERS for w in ("gamma", "beta")
    }


def write(kind: str, target: Path, value: float) -> None:
    if kind == "keras":
        with checkpoints.read(DATA / "keras.keras") as template:
            arrays = {n: np.full(e.shape, value, e.dtype) for n, e in template.items()}
            checkpoints.write(target, arrays, template=template, force=True)
    else:
        checkpoints.write(target, content(value), metadata={"layers": LAYERS}, force=True)


def state(target: Path) -> str:
    """Which of the two versions is there, whole."""
    with checkpoints.read(target) as checkpoint:
        found = {float(v) for e in checkpoint.values() for v in np.unique(e.load())}
        whole = all(np.isfinite(e.load()).all() for e in checkpoint.values())
    return {(1.0,): "old", (2.0,): "new"}.get(tuple(found), "neither") if whole else "neither"


def forked(action) -> int:
    child = os.fork()
    if child == 0:
        try:
            action()
        except CheckpointError:
            os._exit(3)
        except BaseException:
            os._exit(4)
        os._exit(0)
    return child


def main(mode: str, kind: str, folder: str, count: int) -> None:
    rng = random.Random(f"{mode}/{kind}")
    target = Path(folder) / f"x{FORMATS[kind][0]}"
    found: Counter[str] = Counter()
    errors = set()
    write(kind, target, 1.0)
    size, began = target.stat().st_size, time.perf_counter()
    for _ in range(5):  # as the writers below are: a forked one is slower
        os.waitpid(forked(lambda: write(kind, target, 1.0)), 0)
    usual = (time.perf_counter() - began) / 5
    for index in range(count):
        if mode == "kill":
            child = forked(lambda: write(kind, target, 2.0))
            time.sleep(rng.uniform(0, 2.5 * usual))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        else:
            limit = size * index // count

            def full(limit: int = limit) -> None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
                write(kind, target, 2.0)

            code = os.waitstatus_to_exitcode(os.waitpid(forked(full), 0)[1])
            if code:
                errors.add("CheckpointError" if code == 3 else f"exit {code}")
        try:
            which = state(target)
        except CheckpointError:
            which = "neither"
        found[which] += 1
        if which != "old":
            write(kind, target, 1.0)
    write(kind, target, 1.0)  # the next run, which removes what is left over
    left = [p for p in Path(folder).iterdir() if p.name.endswith(SUFFIX)]
    result = {k: found[k] for k in ("old", "new", "neither")}
    print(json.dumps({**result, "leftovers": len(left), "errors": sorted(errors)}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
