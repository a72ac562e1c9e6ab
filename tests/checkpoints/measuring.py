"""Peak memory of one conversion: python tests/checkpoints/measuring.py SOURCE TARGET [transposed]

Prints MiB and seconds. With `make` as SOURCE it writes a large file instead: TARGET SIZE_IN_MIB;
with `compress` a deflated .npz of one array.
"""

from __future__ import annotations

import io
import json
import re
import sys
import time
import zipfile
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


def compress(target: str, size: int) -> None:
    """What numpy.savez_compressed writes, at the fastest level, of numbers that hardly shrink."""
    random = np.random.default_rng(0)
    header = io.BytesIO()
    rows = size * (1 << 20) // 4 // 4096
    facts = {"descr": "<f4", "fortran_order": False, "shape": (rows, 4096)}
    np.lib.format.write_array_header_1_0(header, facts)
    with (
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("dense0/kernel.npy", "w") as member,
    ):
        member.write(header.getvalue())
        for _ in range(rows):
            member.write(random.standard_normal(4096, np.float32).data)


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
    if sys.argv[1] in ("make", "compress"):
        {"make": make, "compress": compress}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
    else:
        convert(sys.argv[1], sys.argv[2], "transposed" in sys.argv)
    # Not ru_maxrss: a process takes over that of the one that started it.
    status = Path("/proc/self/status").read_text()
    peak = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) >> 10
    seconds = round(time.perf_counter() - began, 1)
    size = Path(sys.argv[2]).stat().st_size >> 20
    print(json.dumps({"peak MiB": peak, "seconds": seconds, "target MiB": size}))
