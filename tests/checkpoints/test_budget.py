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
    from batchnorm.checkpoints.protobuf import length_delimited

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


def pickle_text(text):
    return b"X" + struct.pack("<I", len(text)) + text.encode()


def tensor():
    storage = b"(" + pickle_text("storage") + b"ctorch\nFloatStorage\n" + pickle_text("0")
    storage += pickle_text("cpu") + b"K\1tQ"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\0))\x89}tR"


def table(items):
    """A dictionary of a pickle, its values written already."""
    return b"}(" + b"".join(pickle_text(key) + value for key, value in items) + b"u"


def module(parameters, modules, more=()):
    held = [("_parameters", parameters), ("_buffers", table(())), ("_modules", modules), *more]
    return b"cmynet\nNet\n)\x81" + table(held) + b"b"


def shared(value, count):
    """One object under many names."""
    names = (f"{i:x}" for i in range(count))
    return table([("first", value + b"q\0"), *((name, b"h\0") for name in names)])


def stored(stream):
    def write(path):
        torch(path, b"\x80\x02" + stream() + b".")
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("archive/data/0", bytes(4))

    return write


def versions():
    """What torch keeps of a module, one table for all of them."""
    facts = table((f"k{i}", b"K\1") for i in range(2000))
    return table([("w", tensor())]) + table([("_metadata", shared(facts, 40_000))]) + b"b"


def modules(parent):
    settings = [(f"s{i}", b"(" + b"K\1" * 8 + b"l") for i in range(64)]
    return parent(shared(module(table([("w", tensor())]), table(()), settings), 30_000))


def keras_layer(name, kind="Dense", **config):
    return {"class_name": kind, "config": {"name": name, **config}}


def keras(model):
    """A `.keras` of one array."""

    def write(path):
        h5py = pytest.importorskip("h5py")
        with h5py.File(path.with_suffix(".h5"), "w") as file:
            file["layers/dense/vars/0"] = np.ones(2, "f4")
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", json.dumps(model()))
            archive.writestr("metadata.json", '{"keras_version": "3.1"}')
            archive.write(path.with_suffix(".h5"), "model.weights.h5")

    return write


def below_a_long_key():
    inner = {f"a{i}": keras_layer(f"n{i}") for i in range(20_000)}
    return keras_layer("m", "Wrapper", **{"K" * MIB: keras_layer("w", "Wrapper", **inner)})


def below_a_long_name():
    inner = [keras_layer(f"n{i}") for i in range(20_000)]
    model = keras_layer("N" * MIB, "Sequential", layers=inner)
    return keras_layer("m", "Sequential", layers=[model])


def called_often(**settings):
    calls = [[["i", 0, 0, {}]]] * 20_000
    entrance = {**keras_layer("i", "InputLayer"), "inbound_nodes": []}
    layer = {**keras_layer("d", **settings), "inbound_nodes": calls}
    ends = {"input_layers": [["i", 0, 0]], "output_layers": [["d", 19_999, 0]]}
    return keras_layer("m", "Functional", layers=[entrance, layer], **ends)


def delimited(number, content):
    from batchnorm.checkpoints.protobuf import length_delimited

    return length_delimited(number, len(content)) + content


def onnx(piece, inside=()):
    """A model of one array and a piece a million times, inside of messages."""

    def write(path):
        content = piece * MIB
        for number, start in inside:
            content = delimited(number, start + content)
        array = delimited(5, b"\x08\x01\x10\x01" + delimited(8, b"w") + delimited(9, bytes(4)))
        path.write_bytes(b"\x08\x0a" + delimited(2, b"x") + delimited(7, array + content))

    return write


PERM = ((5, delimited(1, b"perm")), (1, delimited(4, b"X")))


def small_chunks(path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        shape = (300_000,)
        file.create_dataset("layers/dense/vars/0", data=np.ones(shape, "f4"), chunks=(1,))


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
    "versions.pth": stored(versions),
    "modules.pth": stored(lambda: modules(lambda inner: module(table(()), inner))),
    "modules apart.pth": stored(lambda: modules(lambda inner: inner)),
    "long key.keras": keras(below_a_long_key),
    "long name.keras": keras(below_a_long_name),
    "long setting.keras": keras(lambda: called_often(kernel_size=[1] * 200_000)),
    "long activation.keras": keras(lambda: called_often(activation=[1] * 200_000)),
    "integers.onnx": onnx(b"\x40\x01" * 8, PERM),
    "packed integers.onnx": onnx(delimited(8, b"\1" * 64), PERM),
    "results.onnx": onnx(delimited(12, b"") * 8),
    "small chunks.weights.h5": small_chunks,
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
