"""Any view of a storage streams in C order, whatever the piece size and the order asked for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchnorm.checkpoints import Entry, streamed, strided
from batchnorm.checkpoints.storage import MemoryStorage
from batchnorm.checkpoints.streamed import Streamed
from batchnorm.checkpoints.strided import Strided
from batchnorm.errors import CheckpointError


@st.composite
def views(draw):
    """A storage and a view of it that NumPy makes the same way."""
    dtype = np.dtype(draw(st.sampled_from(["f4", "i2", "u1", "c16"])))
    shape = tuple(draw(st.lists(st.integers(0, 5), max_size=4)))
    strides = tuple(dtype.itemsize * draw(st.integers(0, 7)) for _ in shape)
    offset = dtype.itemsize * draw(st.integers(0, 3))
    reach = sum((n - 1) * s for n, s in zip(shape, strides, strict=True) if n)
    size = offset + max(reach, 0) + dtype.itemsize
    raw = np.random.default_rng(draw(st.integers(0, 9))).integers(0, 256, size, "u1")
    view = np.ndarray(shape, dtype, raw, offset, strides)
    return Strided(MemoryStorage(raw), dtype, shape, strides, offset), view


@given(views(), st.integers(1, 40), st.integers(1, 60), st.integers(1, 60))
def test_pieces_are_the_view_in_c_order(pair, max_bytes, block, gather):
    layout, view = pair
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strided, "BLOCK", block)
        patch.setattr(streamed, "BLOCK", block)
        patch.setattr(strided, "GATHER", gather)
        pieces = list(layout.chunks(max_bytes))
        loaded = layout.load()
    assert all(p.ndim == 1 and p.size <= max(max_bytes // p.itemsize, 1) for p in pieces)
    assert b"".join(p.tobytes() for p in pieces) == view.tobytes()
    assert loaded.shape == view.shape
    assert loaded.tobytes() == view.tobytes()


@given(views(), st.data())
def test_a_transposition_is_one_whatever_the_layout(pair, data):
    layout, view = pair
    axes = tuple(data.draw(st.permutations(range(view.ndim))))
    streamed = Streamed(view.shape, view.dtype, lambda n: iter([view.reshape(-1)]))
    for source in (layout, streamed):
        moved = source.rearranged(view.shape, axes)
        assert moved.load().tobytes() == view.transpose(axes).tobytes()
        assert moved.shape == view.transpose(axes).shape


def test_rows_of_a_dense_kernel_after_flatten_move_from_chw_to_hwc():
    kernel = np.arange(2 * 3 * 4 * 5).reshape(2 * 3 * 4, 5)  # C=2, H=3, W=4
    entry = Entry.of("fc/kernel", kernel)
    moved = entry.rearranged("fc/kernel", (2, 3, 4, 5), (1, 2, 0, 3), (24, 5))
    expected = kernel.reshape(2, 3, 4, 5).transpose(1, 2, 0, 3).reshape(24, 5)
    assert moved.load().tolist() == expected.tolist()
    back = moved.rearranged("fc/kernel", (3, 4, 2, 5), (2, 0, 1, 3), (24, 5))
    assert back.load().tolist() == kernel.tolist()
    turned = moved.rearranged("fc/kernel", (24, 5), (1, 0), (5, 24))
    assert turned.load().tolist() == expected.T.tolist()
    assert np.concatenate(list(turned.chunks(8))).tolist() == expected.T.reshape(-1).tolist()


def test_a_split_that_does_not_fit_is_refused():
    entry = Entry.of("x", np.ones((2, 3)))
    for split, axes in (((5,), (0,)), ((2, 3), (0, 0)), ((2, 3), (0,))):
        with pytest.raises(CheckpointError, match="can't be split"):
            entry.rearranged("x", split, axes, (6,))
    with pytest.raises(CheckpointError, match="can't hold the values"):
        entry.rearranged("x", (2, 3), (1, 0), (7,))


@pytest.mark.parametrize(
    ("pieces", "match"),
    [
        ([np.ones(3, "f4")], "ends 1 values before"),
        ([np.ones(3, "f4"), np.ones(2, "f4")], "beyond the declared shape"),
        ([np.ones(4, "f8")], "yields float64 values"),
    ],
)
def test_computed_values_must_fit_what_was_declared(pieces, match, tmp_path):
    entry = Entry.streamed("x", (2, 2), "f4", lambda n: iter(pieces))
    with pytest.raises(CheckpointError, match=match):
        entry.load()


def test_an_entry_is_an_array_to_numpy():
    entry = Entry.of("x", [[1, 2], [3, 4]])
    assert np.sum(entry) == 10
    assert np.asarray(entry, "f4").dtype == np.float32
    assert repr(entry) == "Entry('x', shape=(2, 2), dtype=int64)"


@pytest.mark.parametrize("values", [["text"], [None], np.zeros(1, "M8[s]"), np.zeros(1, "f4,f4")])
def test_what_is_no_number_is_no_entry(values):
    with pytest.raises(CheckpointError, match="is not a number"):
        Entry.of("x", values)
