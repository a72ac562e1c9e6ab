"""Shapes that no array can have are one error in every format, also where a 0 hides them."""

import io
import json
import struct
import zipfile

import numpy as np
import pytest

from batchnorm import checkpoints
from batchnorm.checkpoints import Entry
from batchnorm.checkpoints.mindspore_ckpt import _head
from batchnorm.errors import CheckpointError

SHAPES = [
    (1 << 40, 0, 1 << 40), (0, 1 << 61), (1 << 61, 0), (0,) * 65, (1,) * 65,
    (1 << 31, 1 << 31, 0, 9),
]  # fmt: skip


def safetensors(shape):
    facts = {"dtype": "F32", "shape": list(shape), "data_offsets": [0, 4 * (0 not in shape)]}
    header = json.dumps({"w": facts}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(4 * (0 not in shape))


def npz(shape):
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    member = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("w.npy", member + bytes(4 * (0 not in shape)))
    return out.getvalue()


def mindspore(shape):
    size = 4 * (0 not in shape)
    return _head("w", shape, "Float32", size) + bytes(size)


def torch(shape, stride=1):
    numbers = b"(" + b"".join(b"\x8a\x09" + n.to_bytes(9, "little") for n in shape) + b"t"
    strides = b"(" + (b"\x8a\x09" + stride.to_bytes(9, "little")) * len(shape) + b"t"
    pickle = (
        b"\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storage"
        b"ctorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x01tQK\0" + numbers + strides
        + b"\x89}tRs."
    )  # fmt: skip
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("archive/data.pkl", pickle)
        archive.writestr("archive/data/0", bytes(4))
    return out.getvalue()


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: str(shape)[:20])
@pytest.mark.parametrize("make", [safetensors, npz, mindspore, torch])
def test_an_impossible_shape_is_one_error_that_names_the_file(make, shape, tmp_path):
    path = tmp_path / "x.bin"
    path.write_bytes(make(shape))
    with pytest.raises(CheckpointError, match=r"x\.bin"), checkpoints.read(path) as checkpoint:
        checkpoint["w"].load()


@pytest.mark.parametrize("make", [safetensors, npz, mindspore, torch])
@pytest.mark.parametrize("shape", [(0, 3), (2, 0, 5), (1,)])
def test_an_empty_array_is_read(make, shape, tmp_path):
    path = tmp_path / "x.bin"
    path.write_bytes(make(shape))
    with checkpoints.read(path) as checkpoint:
        assert checkpoint["w"].load().shape == shape
        assert sum(piece.size for piece in checkpoint["w"].chunks()) == np.prod(shape)


@pytest.mark.parametrize("shape", [(1,), (1, 1), (0, 3)])
def test_a_stride_beyond_64_bits_that_leads_nowhere_changes_nothing(shape, tmp_path):
    path = tmp_path / "x.pth"
    path.write_bytes(torch(shape, (1 << 62) - 1))
    with checkpoints.read(path) as checkpoint:
        entry = checkpoint["w"]
        axes = tuple(reversed(range(len(shape))))
        assert entry.load().shape == shape
        assert entry.rearranged("v", shape, axes, shape[::-1]).load().shape == shape[::-1]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: str(shape)[:20])
def test_an_entry_can_t_be_given_an_impossible_shape(shape):
    entry = Entry.of("w", np.zeros((0, 1)))
    with pytest.raises(CheckpointError, match="'w'"):
        entry.rearranged("w", shape, tuple(range(len(shape))), (0, 1))
    with pytest.raises(CheckpointError, match="'w'"):
        entry.rearranged("w", (0, 1), (0, 1), shape)
