"""Compare builds of the kernel, bit by bit and by time: `python packaging/builds.py A B …`.

Each is a wheel, or a `_kernel*.so` (which gets this tree's Python files). Each runs the same layers
in a process of its own, in turns, `--rounds` of them; printed are what differs in any bit of y, dx,
dgamma, dbeta or the running state, and each build's time by the first one's, as the median over
rounds, by the size of the tensor. `--python` is another interpreter, for builds of its version; it
needs NumPy, ml_dtypes, click and rich. Exit code 1: some bits differ.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "batchnorm"
SHAPES = (
    (2, 3), (300, 7), (2, 6, 6), (4, 16, 3, 3), (2, 37, 19, 23), (8, 64, 14, 14), (32, 8, 5, 9, 2),
    (3, 320, 28, 28), (16, 96, 56, 56), (32, 64, 112, 112), (1, 512, 1, 8), (5000, 130),
)  # fmt: skip
SMALL, LARGE = 1 << 14, 1 << 20  # values


def worker() -> None:
    """Print, for each row, a digest of all bits and seconds by task."""
    import ml_dtypes
    import numpy as np

    import batchnorm as bn
    from batchnorm import _kernel

    place = Path(_kernel.__file__).parent
    assert os.environ["PYTHONPATH"] == str(place.parent), f"the kernel came from {place}"
    found = {}
    for shape in SHAPES:
        for dtype in ("float32", "float64", "float16", "bfloat16"):
            for last in (False, True)[: len(shape) - 1]:
                random = np.random.default_rng(math.prod(shape))
                kind = getattr(ml_dtypes, dtype, dtype)
                given = (shape[0], *shape[2:], shape[1]) if last else shape
                x, dy = (random.normal(3, 2, given).astype(kind) for _ in range(2))
                if last:
                    x, dy = np.moveaxis(x, -1, 1), np.moveaxis(dy, -1, 1)
                name = f"BatchNorm{max(1, len(shape) - 2)}d"
                own = "float64" if dtype == "float64" else "float32"
                layer = getattr(bn.torch, name)(shape[1], dtype=own)
                digest, seconds = hashlib.sha256(), {}
                for task in ("training", "backward", "inference"):
                    layer.training = task != "inference"
                    run, given = (layer.backward, dy) if task == "backward" else (layer, x)
                    digest.update(np.ascontiguousarray(run(given)).tobytes())
                    best = math.inf
                    for _ in range(3):
                        start = time.perf_counter()
                        run(given)
                        best = min(best, time.perf_counter() - start)
                    seconds[task] = best
                for values in (*layer.state.values(), *layer.gradients.values()):
                    digest.update(values.tobytes())
                label = f"{'×'.join(map(str, shape))} {dtype} {'last' if last else 'first'}"
                found[label] = (math.prod(shape), digest.hexdigest(), seconds)
    print(json.dumps(found))


def installed(build: Path, folder: Path) -> Path:
    """The folder to put on PYTHONPATH for that build."""
    if build.suffix == ".whl":
        with zipfile.ZipFile(build) as archive:
            archive.extractall(folder)
    else:
        shutil.copytree(PACKAGE, folder / "batchnorm", ignore=shutil.ignore_patterns("*.so"))
        shutil.copy2(build, folder / "batchnorm")
    return folder


def main() -> int:
    """Exit code 1: some bits differ."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("builds", type=Path, nargs="*", metavar="BUILD")
    parser.add_argument("--python", type=Path, default=Path(sys.executable))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        worker()
        return 0
    if len(given.builds) < 2:
        parser.error("give two builds or more")
    rounds = []
    with tempfile.TemporaryDirectory() as home:
        places = []
        for number, build in enumerate(given.builds):
            folder = Path(home, str(number))
            folder.mkdir()
            places.append(installed(build, folder))
        for number in range(given.rounds):
            turn: list[dict] = [{} for _ in places]
            for index in range(len(places))[:: 1 if number % 2 else -1]:
                command = [str(given.python), __file__, "--worker"]
                environment = os.environ | {"PYTHONPATH": str(places[index])}
                done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
                turn[index] = json.loads(done.stdout)
            rounds.append(turn)
    first, differing = rounds[0][0], 0
    for build, other in zip(given.builds[1:], rounds[0][1:], strict=True):
        rows = [row for row in first if first[row][1] != other[row][1]]
        differing += len(rows)
        print(f"{build.name}: {len(first) - len(rows)} of {len(first)} rows have the same bits")
        for row in rows:
            print(f"  differs: {row}")
    for number, build in enumerate(given.builds[1:], 1):
        for task in ("training", "backward", "inference"):
            said = []
            for name, low, high in (("small", 0, SMALL), ("middle", SMALL, LARGE),
                                    ("large", LARGE, 1 << 62)):  # fmt: skip
                ratios = [
                    statistics.median(turn[number][r][2][task] / turn[0][r][2][task]
                                      for turn in rounds)
                    for r in first if low <= first[r][0] < high
                ]  # fmt: skip
                said.append(f"{name} {statistics.geometric_mean(ratios):.2f}")
            print(f"{build.name} by {given.builds[0].name}, {task}: {', '.join(said)}")
    return differing > 0


if __name__ == "__main__":
    sys.exit(main())
