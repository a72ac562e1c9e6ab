"""The machine a benchmark runs on: its processor, and how much of it the host leaves to us."""

from __future__ import annotations

import platform
from pathlib import Path

__all__ = ["Steal", "name", "processor"]


def name() -> str:
    """The processor's own name, or its kind."""
    named = (line for line in _cpuinfo().splitlines() if line.startswith("model name"))
    return next((line.partition(":")[2].strip() for line in named), platform.machine())


def processor() -> str:
    """Its name, caches and vectors, as far as the system says."""
    caches = Path("/sys/devices/system/cpu/cpu0/cache")
    sizes = [
        f"L{(one / 'level').read_text().strip()} {(one / 'size').read_text().strip()}"
        for one in sorted(caches.glob("index*"))
        if (one / "type").read_text().strip() != "Instruction"
    ]
    vectors = ["AVX-512"] if "avx512f" in _cpuinfo() else []
    return ", ".join([name(), *vectors, *sizes])


class Steal:
    """`with Steal() as taken:`: taken.percent is what the host gave to others meanwhile.

    The hypervisor's steal as a share of all processors' time, by /proc/stat; 0 where that isn't.
    """

    percent = 0.0

    def __enter__(self) -> Steal:
        self._start = _ticks()
        return self

    def __exit__(self, *_: object) -> None:
        taken, all_ = (after - before for after, before in zip(_ticks(), self._start, strict=True))
        self.percent = 100 * taken / max(all_, 1)


def _cpuinfo() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text() if path.exists() else ""


def _ticks() -> tuple[int, int]:
    path = Path("/proc/stat")
    if not path.exists():
        return 0, 0
    times = [int(word) for word in path.read_text().partition("\n")[0].split()[1:9]]
    return times[7], sum(times)
