"""HDF5: hostile files end in one error without another file opened; what h5py writes is read."""

import os
import struct

import numpy as np
import pytest
from hostile import bounded_memory, refused
from hypothesis import given, settings
from hypothesis import strategies as st

from batchnorm import checkpoints
from batchnorm.checkpoints import hdf5_data
from batchnorm.checkpoints.hdf5_data import dataset_layout
from batchnorm.checkpoints.hdf5_objects import Group, open_root
from batchnorm.checkpoints.source import Source
from batchnorm.errors import CheckpointError

try:
    import h5py
except ImportError:  # the package does not need it, its tests do
    h5py = None
if h5py is None and os.environ.get("CI"):
    raise ImportError("h5py must be installed in CI")
needs_h5py = pytest.mark.skipif(h5py is None, reason="h5py is not installed")
pytestmark = needs_h5py


def keras(folder, fill, **options):
    """A legacy Keras file of one layer whose arrays `fill` makes in the layer's group."""
    path = folder / "x.h5"
    with h5py.File(path, "w", **options) as file:
        file.attrs["layer_names"] = [b"bn"]
        group = file.create_group("bn")
        group.attrs["weight_names"] = [b"w"]
        fill(group)
    return path


def linked(target):
    def fill(group):
        group["w"] = target

    return fill


def made(**options):
    def fill(group):
        group.create_dataset("w", **options)

    return fill


def virtual(unlimited):
    def fill(group):
        most = (None,) if unlimited else None
        layout = h5py.VirtualLayout((4,) if not unlimited else (0,), "f4", maxshape=most)
        source = h5py.VirtualSource(f"{group.file.filename}.other", "d", (4,), maxshape=most)
        if unlimited:
            layout[h5py.h5s.UNLIMITED :] = source[h5py.h5s.UNLIMITED :]
        else:
            layout[:] = source
        group.create_virtual_dataset("w", layout)

    return fill


def committed(group):
    group.file["type"] = np.dtype("f4")
    group.create_dataset("w", (2,), dtype=group.file["type"])


def cycle(group):
    group["w"] = np.ones(2)
    group["again"] = group


def deep(group):
    for _ in range(60):
        group = group.create_group("g")
    group["w"] = np.ones(2)


CASES = {
    "external link": (
        lambda g: linked(h5py.ExternalLink("/etc/hostname", "/x"))(g), "is an external link",
    ),
    "soft link": (lambda g: linked(h5py.SoftLink("/bn/w2"))(g), "soft link"),
    "soft link outside": (lambda g: linked(h5py.SoftLink("../../x"))(g), "soft link"),
    "external storage": (
        made(shape=(8,), dtype="u1", external=[("/etc/hostname", 0, 8)]), "never opened",
    ),
    "virtual": (virtual(False), "layout version|virtual"),
    "virtual without end": (virtual(True), "layout version|virtual"),
    "another filter": (made(data=np.ones(64, "f4"), compression="lzf"), "filter 32000"),
    "shape bomb": (
        made(shape=(1 << 40,), dtype="f4", chunks=(1 << 20,), compression="gzip"), "can hold",
    ),
    "chunk bomb": (made(shape=(1 << 20,), dtype="f8", chunks=(1 << 20,)), "can hold"),
    "a cycle": (cycle, "reached twice"),
    "nested deep": (deep, "more than 48 deep"),
    "a committed type": (committed, "shares a message|not a dataset"),
    "compound": (made(data=np.ones(2, [("a", "f4")])), "compound"),
    "compound like complex": (made(data=np.ones(2, [("r", "f4"), ("j", "f4")])), "compound"),
    "text": (made(data=np.array([b"ab"])), "holds text"),
    "text of any length": (lambda g: g.create_dataset("w", data=["ab"]), "holds text"),
    "references": (lambda g: made(shape=(2,), dtype=h5py.ref_dtype)(g), "reference"),
    "opaque bytes": (made(data=np.zeros(3, "V3")), "not said to be a number"),
    "never written": (made(shape=(20,), dtype="f4"), "never written"),
    "a group for an array": (lambda g: g.create_group("w"), "listed and missing"),
    "array missing": (lambda g: None, "listed and missing"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused(case, tmp_path):
    fill, match = CASES[case]
    refused(keras(tmp_path, fill), match)


def test_an_object_reached_twice_is_refused(tmp_path):
    def fill(group):
        group["w"] = np.ones(2)
        group["again"] = group["w"]

    refused(keras(tmp_path, fill), "reached twice")


@pytest.mark.parametrize("members", [2, 40])
def test_the_newer_form_is_read_while_small_and_refused_when_dense(members, tmp_path):
    def fill(group):
        for index in range(members):
            group[f"x{index}"] = np.ones(2)
        group["w"] = np.arange(3, dtype="f4")

    path = keras(tmp_path, fill, libver=("v108", "v108"))
    if members == 40:
        refused(path, "newer dense form.*libver='earliest'")
    else:
        with checkpoints.read(path) as checkpoint:
            assert checkpoint["bn/w"].load().tolist() == [0, 1, 2]


@pytest.mark.parametrize("version", ["earliest", "v108", "v110", "latest"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunks": (7, 8)},
        {"chunks": (7, 8), "compression": "gzip", "shuffle": True, "fletcher32": True},
        {"maxshape": (None, 30)},
    ],
    ids=lambda options: "-".join(options) or "plain",
)
def test_what_each_version_of_hdf5_writes_is_read_or_refused_by_name(version, options, tmp_path):
    array = np.arange(600.0).reshape(20, 30)
    path = keras(tmp_path, made(data=array, **options), libver=(version, "latest"))
    if options and version in ("v110", "latest"):
        refused(path, "chunk index of HDF5 1.10; save it with libver='earliest'")
        return
    with checkpoints.read(path) as checkpoint:
        assert checkpoint["bn/w"].load().tolist() == array.tolist()


def test_many_attributes_in_the_dense_form_are_refused(tmp_path):
    def fill(group):
        for index in range(40):
            group.attrs[f"a{index}"] = "x"
        group["w"] = np.ones(2)

    refused(keras(tmp_path, fill, libver=("v108", "v108")), "newer dense form")


def test_a_file_that_is_no_kerass_is_refused(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = np.ones(2)
    refused(tmp_path / "x.h5", "neither a Keras model nor Keras weights")


def test_every_beginning_of_a_file_is_refused(tmp_path):
    path = keras(tmp_path, made(data=np.ones(2)))
    content = path.read_bytes()
    for end in range(1, len(content), 61):
        (tmp_path / "y.h5").write_bytes(content[:end])
        refused(tmp_path / "y.h5", "cut short|empty")


def found_after(content, sign, change, tmp_path):
    """The file with one structure changed at each place where it occurs, one at a time."""
    at = content.find(sign)
    while at >= 0:
        out = bytearray(content)
        change(out, at)
        path = tmp_path / "z.h5"
        path.write_bytes(out)
        yield path
        at = content.find(sign, at + 1)


def test_a_tree_that_contains_itself_ends(tmp_path):
    path = keras(tmp_path, made(data=np.ones(2)))

    def change(out, at):
        out[at + 5] = 1  # a level up, and its child the node itself
        out[at + 32 : at + 40] = struct.pack("<Q", at)

    for changed in found_after(path.read_bytes(), b"TREE", change, tmp_path):
        refused(changed, "circle")


def test_a_header_that_continues_in_itself_ends(tmp_path):
    path = keras(tmp_path, lambda g: (made(data=np.ones(2))(g), g.attrs.update({"x" * 99: "y"})))

    def change(out, at):
        (block, length) = struct.unpack_from("<QQ", out, at + 8)
        if length > 24:
            out[block : block + 24] = out[at : at + 24]

    ends = 0
    for changed in found_after(path.read_bytes(), b"\x10\0\x10\0\0\0\0\0", change, tmp_path):
        refused(changed, "circle|missing|listed|layer")
        ends += 1
    assert ends


def test_texts_referred_to_from_everywhere_stay_within_the_allowance(tmp_path):
    def fill(group):
        group["w"] = np.ones(2)
        group.file.attrs["layer_names"] = ["bn"] + ["x" * 30_000] * 3000

    refused(keras(tmp_path, fill), "memory|missing")


@given(data=st.data())
@settings(max_examples=60)
def test_whatever_h5py_writes_in_the_old_form_is_read_or_refused(data, tmp_path_factory):
    """Arrays of any number type, chunked or not, filtered or not, in groups of any size."""
    path = tmp_path_factory.mktemp("h") / "x.h5"
    count = data.draw(st.sampled_from([1, 3, 9, 70, 300]))
    arrays = {}
    with h5py.File(path, "w", libver="earliest") as file:
        for index in range(min(count, 4)):
            kind = data.draw(
                st.sampled_from(["<f4", ">f4", "f2", "f8", ">i2", "i8", "u1", "?", "c8", "c16"])
            )
            shape = tuple(data.draw(st.lists(st.integers(0, 6), max_size=3)))
            array = (np.arange(np.prod(shape, dtype=int)) % 7).reshape(shape).astype(kind)
            options = {}
            if shape and array.size and data.draw(st.booleans()):
                options["chunks"] = tuple(data.draw(st.integers(1, n)) for n in shape)
                options["shuffle"] = data.draw(st.booleans())
                options["fletcher32"] = data.draw(st.booleans())
                options["compression"] = data.draw(st.sampled_from([None, "gzip"]))
            file.create_dataset(f"g/d{index}", data=array, **options)
            arrays[f"g/d{index}"] = array
        for index in range(4, count):
            file[f"g/d{index}"] = arrays[f"g/d{index}"] = np.float32(index)
    source = Source(path)
    root = open_root(source)
    found = {o.path: o for o in root.walk() if not isinstance(o, Group)}
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        loaded = dataset_layout(source, found[name]).load()
        assert loaded.shape == array.shape
        assert loaded.tobytes() == array.astype(array.dtype.newbyteorder("=")).tobytes()
    source.close()


def test_header_blocks_that_overlap_end_soon(tmp_path):
    """Each of many continuations announces all that follows: no work of their square."""
    path = keras(tmp_path, made(data=np.ones(2)))
    content = bytearray(path.read_bytes())
    count = 20_000
    start = len(content)
    content += struct.pack("<BxHII4x", 1, count, 1, 24 * count)  # an object header
    end = start + 16 + 24 * count
    for index in range(count):
        target = start + 16 + 24 * count + 8 * index
        content += struct.pack("<HHB3xQQ", 0x10, 16, 0, target, end + 8 * count - target)
    content += bytes(8 * count)  # messages of kind 0, which say nothing
    content[64:72] = struct.pack("<Q", start)
    content[40:48] = struct.pack("<Q", len(content))
    path.write_bytes(content)
    refused(path, "memory allow")


def test_a_chunk_of_more_bytes_than_filters_make_is_refused(tmp_path):
    data = np.zeros(4096, "f4")
    path = keras(tmp_path, made(data=data, chunks=(64,), compression="gzip"))
    content = bytearray(path.read_bytes())
    at = content.find(b"TREE\x01") + 24
    content[at : at + 4] = struct.pack("<I", 60_000)
    path.write_bytes(content)
    with checkpoints.read(path) as checkpoint, pytest.raises(CheckpointError, match="60000 bytes"):
        checkpoint["bn/w"].load()


def test_chunks_are_put_together_in_bands_of_any_height(tmp_path, monkeypatch):
    array = np.arange(50 * 30, dtype="i4").reshape(50, 30)
    path = keras(tmp_path, made(data=array, chunks=(16, 7), compression="gzip"))
    for band in (1, 500, 2000, 5000, 1 << 20):
        monkeypatch.setattr(hdf5_data, "BAND", band)
        with checkpoints.read(path) as checkpoint:
            pieces = list(checkpoint["bn/w"].chunks())
            assert np.concatenate(pieces).tolist() == array.reshape(-1).tolist()
            assert max(piece.nbytes for piece in pieces) <= max(band, 120)


def test_many_rows_without_chunks_are_zeros_at_once(tmp_path):
    path = keras(tmp_path, made(shape=(40_000_000,), dtype="u1", chunks=(1,)))
    with checkpoints.read(path) as checkpoint:
        assert len(list(checkpoint["bn/w"].chunks())) < 10


@pytest.mark.parametrize("version", ["earliest", "v108"])
def test_what_was_never_written_is_zeros_or_refused(version, tmp_path):
    def fill(value):
        def partly(group):
            group.create_dataset("w", (4, 4), "f4", chunks=(2, 2), fillvalue=value)[0, 0] = 5

        return keras(tmp_path, partly, libver=(version, "v108"))

    with checkpoints.read(fill(0)) as checkpoint:
        assert checkpoint["bn/w"].load().sum() == 5
    refused(fill(7), "never written")


def test_an_index_that_is_damaged_is_refused_every_time(tmp_path):
    path = keras(tmp_path, made(data=np.ones((8, 4)), chunks=(2, 4)))
    content = bytearray(path.read_bytes())
    at = content.find(b"TREE\x01") + 24
    content[at + 80 + 8 : at + 80 + 16] = struct.pack("<Q", 3)  # where no chunk can begin
    path.write_bytes(content)
    with checkpoints.read(path) as checkpoint:
        for _ in range(2):
            with pytest.raises(CheckpointError, match="where none can be"):
                checkpoint["bn/w"].load()


def test_a_chunked_array_can_be_loaded_any_number_of_times(tmp_path, monkeypatch):
    monkeypatch.setattr("batchnorm.checkpoints.source.ALLOWANCE", 1 << 17)
    path = keras(tmp_path, made(data=np.arange(64.0), chunks=(1,)))
    with checkpoints.read(path) as checkpoint:
        for _ in range(100):  # each time its index was paid for anew
            assert checkpoint["bn/w"].load()[63] == 63


def test_reading_opens_no_other_file(tmp_path, monkeypatch):
    opened = []
    real = os.open
    monkeypatch.setattr(os, "open", lambda p, *a, **k: (opened.append(str(p)), real(p, *a, **k))[1])
    for case in ("external link", "external storage", "virtual", "virtual without end"):
        path = keras(tmp_path, CASES[case][0])
        opened.clear()
        with pytest.raises(CheckpointError):
            checkpoints.read(path)
        assert opened == [str(path)]


def test_a_large_group_is_read_in_bounded_memory(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.attrs["layer_names"] = [f"l{i}".encode() for i in range(500)]
        for index in range(500):
            group = file.create_group(f"l{index}")
            group.attrs["weight_names"] = [b"w"]
            group["w"] = np.float32(index)
    size = (tmp_path / "x.h5").stat().st_size
    with bounded_memory(size), checkpoints.read(tmp_path / "x.h5") as checkpoint:
        assert [int(e.load()) for e in checkpoint.values()] == list(range(500))
