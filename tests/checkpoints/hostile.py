"""Builders of hostile checkpoint bytes, for the tests of each format."""

from __future__ import annotations

import json
import math
import struct
import tracemalloc
import zlib
from contextlib import contextmanager
from pathlib import Path

import pytest

from batchnorm import checkpoints
from batchnorm.checkpoints import source
from batchnorm.errors import CheckpointError

DATA = Path(__file__).parents[1] / "data" / "checkpoints"


@contextmanager
def bounded_memory(size):
    """Fail where more is allocated than twice the file and the allowance."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    allowed = 2 * size + source.ALLOWANCE
    assert peak <= allowed, f"{peak} bytes were allocated, {allowed} are allowed"


def _load(path):
    with checkpoints.read(path) as checkpoint:
        for entry in checkpoint.values():
            entry.load()


def refused(path, match):
    """Reading, or loading what was read, is one error that names the file, in bounded memory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "ALLOWANCE", 2 << 20)  # not 64 MiB: counting memory is slow
        with (
            bounded_memory(path.stat().st_size),
            pytest.raises(CheckpointError, match=match) as caught,
        ):
            _load(path)
    assert path.name in str(caught.value)
    assert len(str(caught.value)) < 1500


def safetensors(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def zipped(members, *, packing=0, flags=0x800, crc=None, sizes=None):
    """A zip of (name, content), with sums and sizes as told."""
    body, directory = bytearray(), bytearray()
    for name, content in members:
        raw = name if isinstance(name, bytes) else name.encode()
        data = content
        if packing == 8:
            deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
            data = deflater.compress(content) + deflater.flush()
        packed, size = sizes or (len(data), len(content))
        told = zlib.crc32(content) if crc is None else crc
        facts = struct.pack(
            "<HHHHHIIIHH", 20, flags, packing, 0, 33, told, packed, size, len(raw), 0
        )
        directory += b"PK\1\2\x14\0" + facts + struct.pack("<HHHII", 0, 0, 0, 0, len(body)) + raw
        body += b"PK\3\4" + facts + raw + data
    end = struct.pack("<HHHHIIH", 0, 0, len(members), len(members), len(directory), len(body), 0)
    return bytes(body + directory + b"PK\5\6" + end)


def torch(pickle, storages=((b"\0" * 8),), **options):
    members = [("archive/data.pkl", pickle), ("archive/byteorder", b"little")]
    members += [(f"archive/data/{i}", s) for i, s in enumerate(storages)]
    return zipped([*members, ("archive/version", b"3\n")], **options)


def text(value):
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def number(value):
    return b"\x8a\x09" + value.to_bytes(9, "little", signed=True)


def tensor(key="0", kind="FloatStorage", numel=2, offset=0, shape=(2,), strides=(1,)):
    """The opcodes of one tensor."""
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + f"ctorch\n{kind}\n".encode()
        + text(key) + text("cpu") + number(numel) + b"tQ" + number(offset)
        + b"(" + b"".join(map(number, shape)) + b"t(" + b"".join(map(number, strides)) + b"t"
        + b"\x89ccollections\nOrderedDict\n)RtR"
    )  # fmt: skip


def state(*pairs):
    """A pickled dictionary of (name, opcodes)."""
    return b"\x80\x02}(" + b"".join(text(name) + value for name, value in pairs) + b"u."


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number_, content):
    return varint(number_ << 3 | 2) + varint(len(content)) + content


def ckpt(tag=b"x", dims=(2,), kind=b"Float32", content=b"\0" * 8):
    """One value of a MindSpore checkpoint."""
    inner = b"".join(b"\x08" + varint(d % (1 << 64)) for d in dims)
    inner += field(2, kind) + (field(3, content) if content is not None else b"")
    return field(1, field(1, tag) + field(2, inner))


def npy(header=None, data=b"", kind="<f4", shape="(2,)", order="False"):
    line = header or f"{{'descr': '{kind}', 'fortran_order': {order}, 'shape': {shape}, }}"
    raw = line.encode() + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(raw)) + raw + data


def onnx(arrays, nodes):
    """A model of (name, sides) and (operation, inputs, name)."""
    graph = b""
    for what, inputs, name in nodes:
        taken = b"".join(field(1, one.encode()) for one in inputs)
        graph += field(
            1, taken + field(2, b"y") + field(3, name.encode()) + field(4, what.encode())
        )
    for name, sides in arrays:
        dims = b"".join(b"\x08" + varint(side) for side in sides)
        content = field(9, bytes(4 * math.prod(sides)))
        graph += field(5, dims + b"\x10\1" + field(8, name.encode()) + content)
    return b"\x08\x0a" + field(2, b"pytorch") + field(7, graph)
