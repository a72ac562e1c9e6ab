"""`read` and `write` as a caller meets them."""

import gc
from pathlib import Path

import numpy as np
import pytest

from batchnorm import checkpoints
from batchnorm.checkpoints import Checkpoint, Entry
from batchnorm.errors import BatchNormError, CheckpointError

ARRAYS = {"bn1.weight": np.arange(3, dtype="f4"), "bn1.bias": np.ones(3, "f4")}


def test_a_checkpoint_is_a_mapping_of_lazy_entries(tmp_path):
    checkpoints.write(tmp_path / "x.pth", ARRAYS)
    with checkpoints.read(tmp_path / "x.pth") as checkpoint:
        assert isinstance(checkpoint, Checkpoint)
        assert list(checkpoint.keys()) == ["bn1.weight", "bn1.bias"]
        assert "bn1.bias" in checkpoint
        assert checkpoint.path == tmp_path / "x.pth"
        assert checkpoint["bn1.weight"].nbytes == 12
        assert {n: a.tolist() for n, a in checkpoint.load().items()} == {
            "bn1.weight": [0, 1, 2],
            "bn1.bias": [1, 1, 1],
        }


def test_a_loaded_array_is_the_callers_own(tmp_path):
    for suffix in (".pth", ".safetensors", ".npz", ".ckpt"):
        checkpoints.write(tmp_path / f"x{suffix}", ARRAYS)
        with checkpoints.read(tmp_path / f"x{suffix}") as checkpoint:
            entry = checkpoint["bn1.weight"]
            entry.load()[:] = 9
            assert entry.load().tolist() == [0, 1, 2]
        assert ARRAYS["bn1.weight"].tolist() == [0, 1, 2]


def test_a_closed_checkpoint_says_so(tmp_path):
    checkpoints.write(tmp_path / "x.npz", ARRAYS)
    with checkpoints.read(tmp_path / "x.npz") as checkpoint:
        pass
    with pytest.raises(CheckpointError, match="closed before this entry was read"):
        checkpoint["bn1.bias"].load()


def test_a_forgotten_checkpoint_closes_its_file_in_silence(tmp_path):
    checkpoints.write(tmp_path / "x.npz", ARRAYS)
    entry = checkpoints.read(tmp_path / "x.npz")["bn1.bias"]
    gc.collect()
    assert entry.load().tolist() == [1, 1, 1]  # an entry keeps the file open
    del entry
    gc.collect()  # ResourceWarning would fail the test


def test_a_file_that_shrinks_while_it_is_read_is_an_error(tmp_path):
    checkpoints.write(tmp_path / "x.npz", {"x": np.ones(100_000)})
    with checkpoints.read(tmp_path / "x.npz") as checkpoint:
        with (tmp_path / "x.npz").open("r+b") as file:
            file.truncate(1000)
        with pytest.raises(CheckpointError, match="became shorter"):
            checkpoint["x"].load()


def test_entries_keep_order_and_take_new_names(tmp_path):
    checkpoints.write(tmp_path / "a.pth", ARRAYS)
    with checkpoints.read(tmp_path / "a.pth") as checkpoint:
        renamed = [e.renamed(n.replace("weight", "gamma")) for n, e in checkpoint.items()]
        checkpoints.write(tmp_path / "b.ckpt", reversed(renamed), inputs=[tmp_path / "a.pth"])
        mapped = {n.upper(): e for n, e in checkpoint.items()}
        checkpoints.write(tmp_path / "c.npz", mapped)
    with checkpoints.read(tmp_path / "b.ckpt") as checkpoint:
        assert list(checkpoint) == ["bn1.bias", "bn1.gamma"]
    with checkpoints.read(tmp_path / "c.npz") as checkpoint:
        assert list(checkpoint) == ["BN1.WEIGHT", "BN1.BIAS"]


def test_progress_counts_bytes_up_to_all(tmp_path):
    seen = []
    checkpoints.write(tmp_path / "x.npz", ARRAYS, progress=lambda *counts: seen.append(counts))
    assert seen == [(12, 24), (24, 24)]


def test_every_error_is_one_class_and_a_value_error(tmp_path):
    with pytest.raises(CheckpointError) as caught:
        checkpoints.read(tmp_path / "missing")
    assert isinstance(caught.value, BatchNormError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    "name", ["a\0b", "../x", "a/../b", "/x", "a\nb", "\x1b[31m", "\ud800", "x" * 5000]
)
def test_names_that_no_file_should_hold_are_not_written(name, tmp_path):
    with pytest.raises(CheckpointError, match="not a name that a file should hold"):
        checkpoints.write(tmp_path / "x.npz", {name: np.ones(1)})


def test_two_entries_of_one_name_are_refused(tmp_path):
    entries = [Entry.of("x", np.ones(1)), Entry.of("x", np.ones(2))]
    with pytest.raises(CheckpointError, match="two entries are called 'x'"):
        checkpoints.write(tmp_path / "x.npz", entries)


def test_keras_names_are_layer_and_weight(tmp_path):
    for name in ("gamma", "bn1.weight", "bn1/"):
        with pytest.raises(CheckpointError, match=r"<layer>/<weight>|names"):
            checkpoints.write(tmp_path / "x.h5", {name: np.ones(1)})


def test_keras_weights_need_classes_or_paths(tmp_path):
    with pytest.raises(CheckpointError, match=r"'bn1'.*class.*--like"):
        checkpoints.write(tmp_path / "x.weights.h5", {"bn1/gamma": np.ones(1)})


def test_keras_weights_of_other_names_than_recorded_are_refused(tmp_path):
    layers = {"bn1": {"class_name": "BatchNormalization", "weights": ["gamma", "beta"]}}
    with pytest.raises(CheckpointError, match=r"has 'gamma', and its metadata say 'gamma', 'beta'"):
        checkpoints.write(tmp_path / "x.h5", {"bn1/gamma": np.ones(1)}, metadata={"layers": layers})


def test_stale_facts_of_another_file_are_not_carried_over(tmp_path):
    metadata = {"safetensors": {"format": "ms", "crc_num": "1", "author": "me", "x": "Int4"}}
    checkpoints.write(tmp_path / "x.safetensors", {"x": np.ones(1)}, metadata=metadata)
    with checkpoints.read(tmp_path / "x.safetensors") as checkpoint:
        assert checkpoint.metadata == {"safetensors": {"author": "me"}}
        assert checkpoint.framework is None


def test_metadata_that_are_no_json_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="JSON"):
        checkpoints.write(tmp_path / "x.npz", ARRAYS, metadata={"batchnorm": np.ones(1)})
    assert not list(tmp_path.iterdir())


def test_importing_the_package_loads_no_framework_and_no_hdf5_library():
    import os
    import subprocess
    import sys

    code = (
        "import sys, batchnorm.checkpoints; "
        "print([m for m in ('torch', 'tensorflow', 'keras', 'tf_keras', 'mindspore', 'jax', "
        "'h5py', 'safetensors', 'pickle') if m in sys.modules])"
    )
    source = Path(checkpoints.__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(source)}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() in ("[]", "['pickle']")  # NumPy itself imports pickle


def test_what_a_reader_did_not_foresee_is_still_the_one_error(tmp_path, monkeypatch):
    from batchnorm.checkpoints import files

    checkpoints.write(tmp_path / "x.npz", ARRAYS)
    for error in (KeyError("x"), ValueError("y"), MemoryError(), RecursionError()):

        def fails(source, error=error):
            raise error

        monkeypatch.setitem(files.READERS, "npz", fails)
        with pytest.raises(CheckpointError, match=rf"x\.npz.*{type(error).__name__}.*damaged"):
            checkpoints.read(tmp_path / "x.npz")
