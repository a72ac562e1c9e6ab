"""A checksum that a file holds is checked: no bit flipped under it is read as if nothing was."""

import io
import random
import struct
import zipfile
import zlib

import numpy as np
import pytest

from batchnorm import checkpoints
from batchnorm.checkpoints.checksums import Fletcher32, lookup3
from batchnorm.errors import CheckpointError

h5py = pytest.importorskip("h5py")
FLIPS = 250
DATA = np.random.default_rng(1).standard_normal((13, 7)).astype("f4")


def hdf5(path, *, options, **settings):
    with h5py.File(path, "w", **settings) as file:
        for index, more in enumerate(options):
            made = file.create_dataset(f"layers/dense/vars/{index}", data=DATA, **more)
            made.attrs["note"] = "n" * 300
    return path


def new_headers(path):
    """Version 2 headers, whose arrays are compact, so that all of it is under a checksum."""
    with h5py.File(path, "w", libver=("v108", "v108")) as file:
        for index in range(2):
            kind = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            kind.set_layout(h5py.h5d.COMPACT)
            group = file.require_group("layers/dense/vars")
            space, name = h5py.h5s.create_simple(DATA.shape), str(index).encode()
            made = h5py.h5d.create(group.id, name, h5py.h5t.IEEE_F32LE, space, kind)
            made.write(h5py.h5s.ALL, h5py.h5s.ALL, DATA)
    return path


def torch_zip(path):
    checkpoints.write(path, {"a": DATA, "b.num": np.int64(3), "e": np.zeros((0, 3))})
    return path


def npz(path, *, deflated=True):
    arrays = {"a": DATA, "f": np.asfortranarray(DATA), "e": np.zeros((0, 3), "f4")}
    (np.savez_compressed if deflated else np.savez)(path, **arrays)
    return path


def mindspore(path):
    checkpoints.write(path, {"a": DATA, "b": np.ones(3)}, crc=True)
    return path


FILES = {
    "headers.weights.h5": new_headers,
    "x.pth": torch_zip,
    "deflated.npz": npz,
    "stored.npz": lambda path: npz(path, deflated=False),
    "x.ckpt": mindspore,
}


def everything(path):
    with checkpoints.read(path) as checkpoint:
        return {n: (e.shape, e.dtype, e.load().tobytes()) for n, e in checkpoint.items()}


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_an_error_or_changes_nothing(name, tmp_path):
    path = FILES[name](tmp_path / name)
    good, content = everything(path), path.read_bytes()
    draw, refused = random.Random(name), 0
    for _ in range(FLIPS):
        damaged = bytearray(content)
        at = draw.randrange(len(content))
        damaged[at] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        try:
            assert everything(path) == good, f"byte {at} of {len(content)}"
        except CheckpointError:
            refused += 1
    assert refused > FLIPS // 4  # else the flips fell where nothing lies


@pytest.mark.parametrize(
    "filters",
    [{}, {"shuffle": True}, {"compression": "gzip"}, {"compression": "gzip", "shuffle": True}],
    ids=str,
)
def test_a_damaged_chunk_is_refused_behind_any_other_filter(filters, tmp_path):
    options = [{"chunks": (13, 7), "fletcher32": True, **filters}]
    path = hdf5(tmp_path / "x.weights.h5", options=options)
    with h5py.File(path) as file:
        chunk = file["layers/dense/vars/0"].id.get_chunk_info(0)
    good, content = everything(path), path.read_bytes()
    assert good["dense/0"][2] == DATA.tobytes()
    for at in range(0, chunk.size, 7):
        damaged = bytearray(content)
        damaged[chunk.byte_offset + at] ^= 0x20
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"Fletcher-32|decompressed|cut short|chunk of"):
            everything(path)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 11, 12, 13, 24, 25, 4099])
def test_both_checksums_are_those_of_the_library(size, tmp_path):
    """h5py stores the one behind a chunk's bytes, and the other behind a header's."""
    data = np.random.default_rng(size).integers(0, 256, max(size, 1), "u1")[:size]
    path = tmp_path / "x.h5"
    with h5py.File(path, "w", libver=("v108", "v108")) as file:
        file.attrs["a"] = np.void(bytes(data[:3000]) or b"x")
        if size:
            made = file.create_dataset("d", data=data, chunks=(size,), fletcher32=True)
            chunk = made.id.get_chunk_info(0)
    content = path.read_bytes()
    if size:
        stored = content[chunk.byte_offset : chunk.byte_offset + size + 4]
        checksum = Fletcher32()
        for piece in (stored[:5], stored[5:-4]) if size > 5 else (stored[:-4],):
            checksum.update(piece)
        assert struct.pack("<I", checksum.value()) == stored[-4:]
    at = content.index(b"OHDR")
    flags = content[at + 5]
    begin = at + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
    width = 1 << (flags & 3)
    end = begin + width + int.from_bytes(content[begin : begin + width], "little")
    assert struct.pack("<I", lookup3(content[at:end])) == content[end : end + 4]


def test_checksums_of_zeros_and_of_many_bytes():
    for data in (b"", bytes(9), b"\xff" * 131070, bytes(range(256)) * 3000):
        whole, parts = Fletcher32(), Fletcher32()
        whole.update(data)
        for start in range(0, len(data), 4093):
            parts.update(data[start : start + 4093])
        assert whole.value() == parts.value()
    assert Fletcher32().value() == 0


def test_a_crc_of_0_is_none_in_torch_alone(tmp_path):
    """torch can be told to write no CRC; NumPy and Keras always write one."""
    for name, write, passes in (("x.pth", torch_zip, True), ("x.npz", npz, False)):
        content = write(tmp_path / name).read_bytes()
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            sums = {info.CRC for info in archive.infolist()} - {0}
        for crc in sums:
            content = content.replace(struct.pack("<I", crc), bytes(4))
        (tmp_path / name).write_bytes(content)
        if passes:
            assert everything(tmp_path / name)["a"][2] == DATA.tobytes()
        else:
            with pytest.raises(CheckpointError, match="CRC"):
                everything(tmp_path / name)


@pytest.mark.parametrize("comment", [b"made by PK\5\6 tools", b"PK\5\6" * 9, b"PK\5\6" + bytes(22)])
def test_a_comment_of_an_archive_may_look_like_its_end(comment, tmp_path):
    path = torch_zip(tmp_path / "x.pth")
    good, content = everything(path), path.read_bytes()
    path.write_bytes(content[:-2] + struct.pack("<H", len(comment)) + comment)
    assert everything(path) == good
    path.write_bytes(content + b"x")
    with pytest.raises(CheckpointError, match="bytes follow"):
        everything(path)


def test_chunks_that_take_more_than_they_are_worth_are_refused(tmp_path):
    path = tmp_path / "x.weights.h5"
    with h5py.File(path, "w") as file:
        options = {"maxshape": (None, None), "chunks": (1, 8 << 20), "compression": "gzip"}
        made = file.create_dataset("layers/dense/vars/0", (3, 1), "f4", **options)
        for row in range(3):
            made.id.write_direct_chunk((row, 0), zlib.compress(bytes(32 << 20), 9))
    with pytest.raises(CheckpointError, match="are used"):
        everything(path)
