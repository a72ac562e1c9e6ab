"""A → B → A loses nothing: names, order, every bit, plain values and metadata, for all formats."""

import itertools
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from batchnorm import checkpoints
from batchnorm.errors import CheckpointError

DATA = Path(__file__).parents[1] / "data" / "checkpoints"
SUFFIXES = {
    "safetensors": ".safetensors", "torch": ".pth", "mindspore": ".ckpt", "npz": ".npz",
    "keras-h5": ".h5", "keras-weights": ".weights.h5",
}  # fmt: skip
INTEGERS = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]
COMMON = [np.dtype(t) for t in ["f2", "f4", "f8", "?", *INTEGERS]]
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOAT8 = [np.dtype(getattr(ml_dtypes, n)) for n in ("float8_e4m3fn", "float8_e5m2")]
COMPLEX = [np.dtype("c8"), np.dtype("c16")]
HELD = {
    "safetensors": [*COMMON, BFLOAT16, *FLOAT8, np.dtype("c8")],
    "torch": [*COMMON, BFLOAT16, *FLOAT8, *COMPLEX],
    "mindspore": [*COMMON, BFLOAT16],
    "npz": [*COMMON, BFLOAT16, *FLOAT8, *COMPLEX],
    "keras-h5": [*COMMON, BFLOAT16, *COMPLEX],
    "keras-weights": [*COMMON, BFLOAT16, *COMPLEX],
}
EVERY = sorted({dtype for held in HELD.values() for dtype in held}, key=str)
EXTRAS = {"epoch": 3, "rate": 0.1, "note": "héllo", "none": None, "yes": True, "big": 1 << 70}
OWN = {"bn": {"epsilon": 1e-5, "momentum": 0.1}}


def bits(shape, dtype, seed=0):
    """Every kind of bit pattern: NaNs with payload, infinities, negative zero."""
    raw = np.random.default_rng(seed).integers(0, 256, int(np.prod(shape)) * dtype.itemsize, "u1")
    if dtype == np.bool_:
        raw %= 2
    return raw.view(dtype).reshape(shape)


def model(dtypes):
    arrays, layers = {}, {}
    for index, dtype in enumerate(dtypes):
        layer = f"block/bn{index}"
        arrays[f"{layer}/gamma"] = bits((3, 5), dtype, index)
        arrays[f"{layer}/beta"] = bits((), dtype, index + 100)
        arrays[f"{layer}/moving_mean"] = bits((0,), dtype)
        arrays[f"{layer}/moving_variance"] = bits((3, 0, 2), dtype)
        layers[layer] = {"class_name": "BatchNormalization"}
    return arrays, layers


@pytest.mark.parametrize(("a", "b"), list(itertools.product(SUFFIXES, repeat=2)))
def test_there_and_back_is_the_same(a, b, tmp_path):
    arrays, layers = model([dtype for dtype in HELD[a] if dtype in HELD[b]])
    first, between, last = (
        tmp_path / f"{n}{SUFFIXES[f]}" for n, f in (("1", a), ("2", b), ("3", a))
    )
    metadata = {"batchnorm": OWN, "layers": layers}
    checkpoints.write(first, arrays, extras=EXTRAS, metadata=metadata)
    for source, target in ((first, between), (between, last)):
        with checkpoints.read(source) as checkpoint:
            checkpoints.write(target, checkpoint)
    with checkpoints.read(last) as checkpoint:
        assert list(checkpoint) == list(arrays)
        for name, array in arrays.items():
            loaded = checkpoint[name].load()
            assert (loaded.shape, loaded.dtype) == (array.shape, array.dtype)
            assert loaded.tobytes() == array.tobytes()
        assert checkpoint.extras == EXTRAS
        assert checkpoint.metadata["batchnorm"] == OWN
        found = checkpoint.metadata["layers"]
        assert {n: f["class_name"] for n, f in found.items()} == {
            n: f["class_name"] for n, f in layers.items()
        }


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [(kind, dtype) for kind, held in HELD.items() for dtype in EVERY if dtype not in held],
    ids=str,
)
def test_a_type_that_a_format_cant_hold_is_a_clear_error(kind, dtype, tmp_path):
    arrays, layers = model([dtype])
    target = tmp_path / f"x{SUFFIXES[kind]}"
    with pytest.raises(CheckpointError, match=rf"bn0/gamma.*{dtype}.*(convert|write)"):
        checkpoints.write(target, arrays, metadata={"layers": layers})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", SUFFIXES)
def test_the_same_input_gives_the_same_bytes(kind, tmp_path):
    arrays, layers = model(HELD[kind])
    for name in ("1", "2"):
        checkpoints.write(
            tmp_path / (name + SUFFIXES[kind]), arrays, extras=EXTRAS, metadata={"layers": layers}
        )
    first, second = sorted(tmp_path.iterdir())
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("name", ["torch.pth", "mindspore.ckpt", "keras.keras", "numpy.npz"])
@pytest.mark.parametrize("kind", ["safetensors", "torch", "mindspore", "npz"])
def test_real_files_pass_through_every_format_of_free_names(name, kind, tmp_path):
    with checkpoints.read(DATA / name) as checkpoint:
        if name == "numpy.npz" and kind in ("safetensors", "mindspore"):
            checkpoint.entries.pop("complex")  # complex128
        checkpoints.write(tmp_path / f"x{SUFFIXES[kind]}", checkpoint)
        with checkpoints.read(tmp_path / f"x{SUFFIXES[kind]}") as written:
            assert list(written) == list(checkpoint)
            for entry in checkpoint.values():
                assert written[entry.name].load().tobytes() == entry.load().tobytes()
            assert written.metadata.get("layers") == checkpoint.metadata.get("layers")


@pytest.mark.parametrize("kind", ["safetensors", "torch", "npz", "keras-h5"])
@given(data=st.data())
def test_any_array_of_any_layout_comes_back(kind, data, tmp_path_factory):
    dtype = data.draw(st.sampled_from(COMMON))
    array = data.draw(hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0)))
    axes = data.draw(st.permutations(range(array.ndim)))
    given_array = array.transpose(axes)[..., ::-1] if array.ndim else array
    if data.draw(st.booleans()):
        given_array = given_array.astype(dtype.newbyteorder(">"))
    target = tmp_path_factory.mktemp("x") / f"x{SUFFIXES[kind]}"
    checkpoints.write(target, {"layer/kernel": given_array})
    with checkpoints.read(target) as checkpoint:
        loaded = checkpoint["layer/kernel"].load()
    assert (loaded.shape, loaded.dtype) == (given_array.shape, dtype)
    assert loaded.tobytes() == np.ascontiguousarray(given_array.astype(dtype)).tobytes()


TEMPLATES = ["keras.keras", "tf_keras.keras", "keras.weights.h5", "keras.h5", "tf_keras.h5"]


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("b", SUFFIXES)
def test_a_keras_file_comes_back_through_any_format_into_its_template(template, b, tmp_path):
    first, between = tmp_path / f"1_{template}", tmp_path / f"2{SUFFIXES[b]}"
    last = tmp_path / f"3_{template}"
    with checkpoints.read(DATA / template) as checkpoint:
        arrays = {n: bits(e.shape, e.dtype, i) for i, (n, e) in enumerate(checkpoint.items())}
        checkpoints.write(first, arrays, template=checkpoint, metadata={"batchnorm": OWN})
    with checkpoints.read(first) as checkpoint:
        checkpoints.write(between, checkpoint)
    with checkpoints.read(between) as checkpoint:
        checkpoints.write(last, checkpoint, template=DATA / template)
    with checkpoints.read(last) as checkpoint:
        assert {n: e.load().tobytes() for n, e in checkpoint.items()} == {
            n: a.tobytes() for n, a in arrays.items()
        }
        assert checkpoint.metadata["batchnorm"] == OWN
    assert last.read_bytes() == first.read_bytes()


@pytest.mark.parametrize("name", ["torch_legacy.pth", "torch_legacy_views.pth"])
@pytest.mark.parametrize("b", ["safetensors", "torch", "mindspore", "npz"])
def test_a_legacy_stream_passes_through_any_format_of_free_names(name, b, tmp_path):
    between = tmp_path / f"2{SUFFIXES[b]}"
    with checkpoints.read(DATA / name) as checkpoint:
        expected = checkpoint.load()
        checkpoints.write(between, checkpoint)
    with checkpoints.read(between) as checkpoint:
        checkpoints.write(tmp_path / "3.pth", checkpoint)
    with checkpoints.read(tmp_path / "3.pth") as checkpoint:
        assert list(checkpoint) == list(expected)
        for entry_name, array in expected.items():
            loaded = checkpoint[entry_name].load()
            assert (loaded.shape, loaded.dtype) == (array.shape, array.dtype)
            assert loaded.tobytes() == array.tobytes()
