"""All contenders of a row, each in its process, taking turns under the eyes of this one.

A framework that is missing, crashes, hangs or gives a wrong answer is a note; the rest goes on.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from batchnorm.cli.measure import Case, ours
from batchnorm.vocabulary import Array
from benchmarks.frameworks import environment

__all__ = ["Contender", "data_of", "measure"]

PATIENCE = 240.0  # seconds for one answer: the first one imports the framework
MEMORY = Path("/dev/shm")
SMALL, MORE = 2 << 20, 6  # rows under so many bytes have so many times the rounds: they are short


class Contender:
    """A worker process."""

    def __init__(self, name: str, threads: int) -> None:
        self.name, self.threads = name, threads
        self.process: subprocess.Popen[str] | None = None
        self.package, self.version = name, ""

    def ask(self, what: str, **arguments: Any) -> dict[str, Any]:
        """The worker's answer; `error` in it where there is none."""
        if self.process is None:
            self._start()
        assert self.process is not None
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"do": what, **arguments}) + "\n")
            self.process.stdin.flush()
            line = self.lines.get(timeout=PATIENCE)
        except (OSError, queue.Empty):
            line = ""
        if line:
            return dict(json.loads(line))
        code = self.process.poll()
        self.stop()
        return {"error": "no answer in time" if code is None else f"ended with code {code}"}

    def stop(self) -> None:
        """End the process; the next question starts a new one."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.reader.join()
            for pipe in (self.process.stdin, self.process.stdout):
                with suppress(OSError):  # what could not be written any more
                    assert pipe is not None
                    pipe.close()
            self.process = None

    def _start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", self.name, str(self.threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **environment(self.threads)},
            cwd=Path(__file__).parent.parent,
        )
        self.lines: queue.Queue[str] = queue.Queue()
        arguments = (self.process, self.lines)
        self.reader = threading.Thread(target=self._read, args=arguments, daemon=True)
        self.reader.start()

    @staticmethod
    def _read(process: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put("")


@contextmanager
def data_of(case: Case) -> Iterator[Path]:
    """A folder with x, dy and the answer of the NumPy reference, in memory where there is room."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        x, dy = case.draw(0), case.draw(1)
        truth = np.empty(x.shape, np.float32)
        ours(case, x, dy, truth, "reference")()
        for name, array in (("x", x), ("dy", dy), ("truth", truth)):
            stored = (
                array.view(np.uint16) if case.dtype == "bfloat16" and name != "truth" else array
            )
            np.save(Path(folder) / f"{name}.npy", stored)
        yield Path(folder)


def measure(
    case: Case, contenders: list[Contender], levels: list[str], rounds: int, seconds: float
) -> tuple[dict[str, Array], dict[str, str]]:
    """Seconds of every call in each of its rounds, and what could not be timed.

    All take turns, in an order that is turned round each time. A slow one takes part in fewer
    rounds, so that it spends about `seconds` on the row; a turn of a fast one is repeated until
    0.5 ms are over. A small row, whose threads' waking varies more than its work, has more rounds.
    """
    notes: dict[str, str] = {}
    owner: dict[str, Contender] = {}
    with data_of(case) as folder:
        for contender in contenders:
            done = contender.ask("row", case=asdict(case), folder=str(folder), levels=levels)
            if "error" in done:
                notes[contender.name] = done["error"]
            notes |= done.get("refused", {})
            owner |= dict.fromkeys(done.get("names", ()), contender)
    rounds *= MORE if case.nbytes < SMALL else 1
    count, most = {}, {}
    for name in owner:
        one = owner[name].ask("turn", name=name, count=1).get("seconds", seconds)
        least = 3 if one < seconds else 1
        most[name] = max(least, min(rounds, int(seconds / max(one, 1e-7))))
        count[name] = max(1, int(5e-4 / max(one, 1e-7)))
    times: dict[str, list[float]] = {name: [] for name in owner}
    for turn in range(rounds):
        for name in list(owner)[:: 1 if turn % 2 else -1]:
            if turn < most[name] and name not in notes:
                done = owner[name].ask("turn", name=name, count=count[name])
                if "error" in done:
                    notes[name] = done["error"]
                else:
                    times[name].append(done["seconds"])
    found = {name: np.array(taken) for name, taken in times.items() if name not in notes}
    return found, notes
