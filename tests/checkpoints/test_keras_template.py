"""Writing into a template changes the given arrays and nothing else."""

import zipfile

import numpy as np
import pytest
from hostile import DATA

from batchnorm import checkpoints
from batchnorm.errors import CheckpointError

TEMPLATES = ["keras.keras", "keras.h5", "keras.weights.h5", "tf_keras.keras", "tf_keras.h5",
             "tf_keras.weights.h5", "tf_keras_weights.h5", "keras_compiled.keras"]  # fmt: skip


def suffix(name):
    return "." + name.split(".", 1)[1]


def given_for(template):
    with checkpoints.read(template) as checkpoint:
        return {n: e.load() + e.dtype.type(1) for n, e in checkpoint.items()}


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_array_is_replaced_and_everything_else_stays(name, tmp_path):
    arrays = given_for(DATA / name)
    target = tmp_path / f"out{suffix(name)}"
    checkpoints.write(target, arrays, template=DATA / name)
    with checkpoints.read(target) as written, checkpoints.read(DATA / name) as template:
        assert list(written) == list(template)
        assert written.metadata == template.metadata
        for entry_name, array in arrays.items():
            assert written[entry_name].load().tobytes() == array.tobytes()
    if name.endswith(".keras"):
        with zipfile.ZipFile(DATA / name) as old, zipfile.ZipFile(target) as new:
            assert new.testzip() is None
            assert new.namelist() == old.namelist()
            assert new.read("config.json") == old.read("config.json")
            assert new.read("metadata.json") == old.read("metadata.json")
    else:
        old, new = (DATA / name).read_bytes(), target.read_bytes()
        different = sum(a != b for a, b in zip(old, new, strict=True))
        assert different <= sum(a.nbytes for a in arrays.values())


@pytest.mark.parametrize("name", TEMPLATES)
def test_metadata_are_added_and_replaced_without_moving_anything(name, tmp_path):
    h5py = pytest.importorskip("h5py")
    arrays = given_for(DATA / name)
    first, second = (tmp_path / f"{n}{suffix(name)}" for n in "ab")
    checkpoints.write(first, arrays, template=DATA / name, metadata={"batchnorm": {"a": 1}})
    checkpoints.write(second, arrays, template=first, metadata={"batchnorm": {"b": "x" * 5000}},
                      extras={"epoch": 3})  # fmt: skip
    with checkpoints.read(second) as written:
        assert written.metadata["batchnorm"] == {"b": "x" * 5000}
        assert written.extras == {"epoch": 3}
        assert written.load().keys() == arrays.keys()
    third = tmp_path / f"c{suffix(name)}"
    checkpoints.write(third, arrays, template=second)  # what `second` said is not of these arrays
    with checkpoints.read(third) as written:
        assert "batchnorm" not in written.metadata
        assert written.extras == {}
    if not name.endswith(".keras"):
        with h5py.File(second, "a") as file:  # libhdf5 agrees, and can go on writing
            assert "epoch" in file.attrs["__batchnorm__"]
            file["more"] = 1


def test_what_the_template_lacks_is_named(tmp_path):
    arrays = given_for(DATA / "keras.keras")
    with pytest.raises(CheckpointError, match=r"no array 'fc/gamma' \(and 1 more\); it has 'conv1"):
        checkpoints.write(
            tmp_path / "x.keras",
            {**arrays, "fc/gamma": np.ones(1), "fc/beta": np.ones(1)},
            template=DATA / "keras.keras",
        )


def test_what_is_not_given_is_named_unless_it_may_stay(tmp_path):
    arrays = given_for(DATA / "keras.keras")
    del arrays["fc/bias"]
    with pytest.raises(CheckpointError, match="'fc/bias' would keep the template's values"):
        checkpoints.write(tmp_path / "x.keras", arrays, template=DATA / "keras.keras")
    checkpoints.write(tmp_path / "x.keras", arrays, template=DATA / "keras.keras", partial=True)
    with (
        checkpoints.read(tmp_path / "x.keras") as written,
        checkpoints.read(DATA / "keras.keras") as template,
    ):
        assert written["fc/bias"].load().tolist() == template["fc/bias"].load().tolist()


@pytest.mark.parametrize(
    ("array", "match"),
    [(np.ones(3, "f4"), r"float32 \(2,\) in the template.*float32 \(3,\)"),
     (np.ones(2, "f8"), r"float32 \(2,\) in the template.*float64 \(2,\)")],
)  # fmt: skip
def test_another_shape_or_type_is_refused(array, match, tmp_path):
    arrays = {**given_for(DATA / "keras.keras"), "fc/bias": array}
    with pytest.raises(CheckpointError, match=match):
        checkpoints.write(tmp_path / "x.keras", arrays, template=DATA / "keras.keras")


def test_a_compressed_or_swapped_template_is_refused(tmp_path):
    for name in ("gamma", "mean"):
        arrays = given_for(DATA / "chunked.h5")
        only = {f"bn/{name}": arrays[f"bn/{name}"]}
        with pytest.raises(CheckpointError, match=r"compressed|big-endian"):
            checkpoints.write(tmp_path / "x.h5", only, template=DATA / "chunked.h5", partial=True)


def test_a_template_of_another_format_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"template of format torch gives a file of that"):
        checkpoints.write(tmp_path / "x.keras", {}, template=DATA / "torch.pth")
    with pytest.raises(CheckpointError, match=r"give a template"):
        checkpoints.write(tmp_path / "x.keras", {"a/b": np.ones(1)})
    with pytest.raises(CheckpointError, match=r"can't be opened"):
        checkpoints.write(tmp_path / "x.keras", {}, template=tmp_path / "missing.keras")


def test_the_template_may_not_be_the_target(tmp_path):
    path = tmp_path / "x.keras"
    path.write_bytes((DATA / "keras.keras").read_bytes())
    with pytest.raises(CheckpointError, match="is the input"):
        checkpoints.write(path, given_for(path), template=path, force=True)
