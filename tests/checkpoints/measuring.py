"""Peak memory of one conversion: python tests/checkpoints/measuring.py SOURCE TARGET [transposed]

Prints MiB and seconds. With `make` as SOURCE it writes a large file instead: TARGET SIZE_IN_MIB.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

import numpy as np

from batchnorm import checkpoints
from batchnorm.checkpoints import Entry

LAYERS = {f"dense{i}": {"class_name": "Dense"} for i in range(3)}


def make(target: str, size: int) -> None:
    """Three large arrays and some small ones, never whole in memory."""
    rows = size * (1 << 20) // 3 // 4 // 4096

    def chunks(max_bytes: int):
        for start in range(0, rows * 4096, 1 << 20):
            count = min(1 << 20, rows * 4096 - start)
            yield (np.arange(start, start + count) % 8191).astype(np.float32)

    entries = []
    for layer in LAYERS:
        entries.append(Entry.streamed(f"{layer}/kernel", (rows, 4096), "f4", chunks))
        entries.append(Entry.of(f"{layer}/bias", np.ones(4096, "f4")))
    checkpoints.write(target, entries, metadata={"layers": LAYERS}, force=True)


def convert(source: str, target: str, transposed: bool) -> None:
    with checkpoints.read(source) as checkpoint:
        entries = list(checkpoint.values())
        if transposed:
            entries = [
                e.rearranged(e.name, e.shape, (1, 0), e.shape[::-1]) if len(e.shape) == 2 else e
                for e in entries
            ]
        checkpoints.write(
            target, entries, metadata={"layers": LAYERS}, force=True, inputs=[source], crc=True
        )


if __name__ == "__main__":
    began = time.perf_counter()
    if sys.argv[1] == "make":
        make(sys.argv[2], int(sys.argv[3]))
    else:
        convert(sys.argv[1], sys.argv[2], "transposed" in sys.argv)
    # Not ru_maxrss: a process takes over that of the one that started it.
    status = Path("/proc/self/status").read_text()
    peak = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) >> 10
    seconds = round(time.perf_counter() - began, 1)
    size = Path(sys.argv[2]).stat().st_size >> 20
    print(json.dumps({"peak MiB": peak, "seconds": seconds, "target MiB": size}))
