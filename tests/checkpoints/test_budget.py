"""Reading takes twice the file and 64 MiB at most, as the process itself counts it.

Files that make as much of their bytes as each format lets them, read in a process of their own.
"""

import json
import os
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="no /proc")
CHILD = """
import re, resource, sys
from batchnorm import checkpoints
def mib(key): return int(re.search(key + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) >> 10
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
open("/proc/self/clear_refs", "w").write("5")
before = mib("VmRSS")
try:
    with checkpoints.read(sys.argv[1]) as file:
        for entry in file.values():
            entry.load()
    said = "read"
except checkpoints.files.CheckpointError:
    said = "refused"
print(said, mib("VmHWM") - before)
"""
MIB = 1 << 20
SLACK = 16  # MiB: what Python itself comes to need on the way


def torch(path, stream):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (("data.pkl", stream), ("byteorder", b"little")):
            archive.writestr(f"archive/{name}", content)


def pickled(piece, count=3 * MIB, end=b"."):
    return lambda path: torch(path, b"\x80\x02" + piece * (count // len(piece)) + end)


def safetensors(header):
    def write(path):
        content = header()
        path.write_bytes(struct.pack("<Q", len(content)) + content)

    return write


def note(text):
    return safetensors(lambda: b'{"__metadata__":{"note":"' + text() + b'"}}')


def text_of(size):
    data = "\U0001f680".encode() + b"n" * size
    return b"X" + struct.pack("<I", len(data)) + data


def mindspore_text(path):
    from batchnorm.checkpoints.mindspore_ckpt import _head

    path.write_bytes(_head("t", (0,), "str", 24 * MIB) + b"n\0\0\0" * (6 * MIB))


def mindspore_tag(path):
    from batchnorm.checkpoints.wire import length_delimited

    tag = "\U0001f680".encode() + b"n" * (24 * MIB)
    inner = length_delimited(1, len(tag)) + tag
    path.write_bytes(length_delimited(1, len(inner)) + inner)


def own_entry(path):
    own = b'{"a":"' + b"\\\\u0100" * MIB + b'"}'
    np.savez_compressed(path, __batchnorm__=np.frombuffer(own, "u1"), w=np.ones(2))


def column_major(path):
    np.savez_compressed(path, w=np.zeros((4000, 4000), "f4", order="F"))


def filters_in_a_row(path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        options = {"compression": "gzip", "shuffle": True, "fletcher32": True}
        shape = (15 * MIB // 16, 16)
        file.create_dataset("layers/dense/vars/0", shape, "f4", chunks=shape, **options)
        file["layers/dense/vars/0"][:1] = 1


def config(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", b"[" + b"{}," * (2 * MIB) + b"{}]")
        archive.writestr("model.weights.h5", b"x")


FILES = {
    "marks.pth": pickled(b"(N", 6 * MIB),
    "marks alone.pth": pickled(b"("),
    "empty tuples.pth": pickled(b")"),
    "empty lists.pth": pickled(b"]"),
    "dictionaries.pth": pickled(b"}"),
    "floats.pth": pickled(b"G" + bytes(8)),
    "memo.pth": pickled(b"N\x94", 6 * MIB),
    "wide text.pth": lambda path: torch(path, b"\x80\x02" + text_of(24 * MIB) + b"."),
    "many texts.pth": pickled(b"X\x04\0\0\0" + "\U0001f680".encode(), 8 * MIB),
    "list.pth": pickled(b"K\x07", 6 * MIB, b"t."),
    "wide.safetensors": note(lambda: "\U0001f680".encode() + b"n" * (24 * MIB)),
    "escaped.safetensors": note(lambda: b"\\ud83d\\ude80" + b"n" * (24 * MIB)),
    "escapes.safetensors": note(lambda: b"\\u0100" * (2 * MIB)),
    "newlines.safetensors": note(lambda: b"\\n" * (6 * MIB)),
    "keys.safetensors": safetensors(
        lambda: json.dumps({f"{i:x}": 0 for i in range(600_000)}).encode().replace(b" ", b"")
    ),
    "lists.safetensors": safetensors(lambda: b'{"a":[' + b"[]," * (2 * MIB) + b"[]]}"),
    "text.ckpt": mindspore_text,
    "tag.ckpt": mindspore_tag,
    "own.npz": own_entry,
    "column major.npz": column_major,
    "filters.weights.h5": filters_in_a_row,
    "config.keras": config,
}


@pytest.mark.parametrize("name", FILES)
def test_what_reading_takes_is_what_is_promised(name, tmp_path):
    path = tmp_path / name
    FILES[name](path)
    source = Path(__file__).parents[2] / "src"
    done = subprocess.run(
        [sys.executable, "-c", CHILD, path],
        env={**os.environ, "PYTHONPATH": str(source), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-600:]
    _, taken = done.stdout.split()
    assert int(taken) <= 2 * path.stat().st_size / MIB + 64 + SLACK


def test_a_compressed_array_of_its_whole_allowance_is_read(tmp_path):
    """The promise isn't kept by refusing everything."""
    for name, write in (("c.npz", column_major), ("f.weights.h5", filters_in_a_row)):
        write(tmp_path / name)
        from batchnorm import checkpoints

        with checkpoints.read(tmp_path / name) as file:
            assert [entry.load().nbytes >= 60 * MIB for entry in file.values()] == [True]
