"""Several files by their index are one checkpoint; nothing outside their folder is opened."""

import json

import numpy as np
import pytest

import batchnorm as bn
from batchnorm import checkpoints
from batchnorm.errors import CheckpointError

STATE = {
    "conv.weight": np.arange(12, dtype=np.float32).reshape(4, 3, 1, 1),
    **{f"norm.{n}": np.arange(1, 5, dtype=np.float32) for n in ("weight", "bias")},
    **{f"norm.running_{n}": np.arange(1, 5, dtype=np.float32) for n in ("mean", "var")},
    "norm.num_batches_tracked": np.int64(3),
}
FILES = ["model-00001-of-00002", "model-00002-of-00002"]


def sharded(folder, suffix="safetensors", **changes):
    """A norm is divided between the two files."""
    listed = list(STATE.items())
    parts = {FILES[0]: dict(listed[:4]), FILES[1]: dict(listed[4:])}
    table = {n: f"{file}.{suffix}" for file, names in parts.items() for n in names}
    for file, names in parts.items():
        checkpoints.write(folder / f"{file}.{suffix}", names, framework="torch")
    index = folder / f"model.{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": table | changes}))
    return index


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_it_is_the_union_and_streams(suffix, tmp_path):
    index = sharded(tmp_path, suffix)
    with checkpoints.read(index) as checkpoint:
        assert set(checkpoint) == set(STATE)
        assert checkpoint.framework == "torch"
        assert checkpoint.format == ("torch" if suffix == "bin" else "safetensors")
        found = checkpoint.load()
    for name, value in STATE.items():
        assert np.array_equal(found[name], value)
    with pytest.raises(CheckpointError, match="closed"):
        checkpoint["conv.weight"].load()
    done = bn.convert(index, tmp_path / "a.ckpt")
    assert done.report.exit_code == 0
    assert done.load()["norm.moving_variance"].tolist() == [1, 2, 3, 4]
    assert bn.inspect(index).exit_code == 0


def test_arrays_of_all_files_may_be_larger_than_the_index(tmp_path, monkeypatch):
    index = sharded(tmp_path)
    monkeypatch.setattr("batchnorm.checkpoints.source.ALLOWANCE", 64 << 10)
    with checkpoints.read(index) as checkpoint:
        assert checkpoint.source.limit > (64 << 10) + sum(e.nbytes for e in checkpoint.values())


def test_a_missing_file_is_named(tmp_path):
    index = sharded(tmp_path)
    (tmp_path / f"{FILES[1]}.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"00002-of-00002.*missing"):
        checkpoints.read(index)


@pytest.mark.parametrize(
    "file", ["../a.safetensors", "/etc/passwd", "..", "sub/a.safetensors", "a\\b", "", 3, None]
)
def test_no_file_outside_the_folder_is_opened(file, tmp_path):
    index = sharded(tmp_path, **{"conv.weight": file})
    with pytest.raises(CheckpointError, match="no name in the folder"):
        checkpoints.read(index)


def test_files_that_are_not_the_indexs_are_refused(tmp_path):
    index = sharded(tmp_path, **{"other.weight": f"{FILES[0]}.safetensors"})
    with pytest.raises(CheckpointError, match=r"lacks 'other\.weight'"):
        checkpoints.read(index)
    table = json.loads(index.read_text())
    del table["weight_map"]["other.weight"], table["weight_map"]["norm.weight"]
    index.write_text(json.dumps(table))
    with pytest.raises(CheckpointError, match=r"holds 'norm\.weight'"):
        checkpoints.read(index)


def test_an_index_that_names_itself_is_no_checkpoint(tmp_path):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": index.name}}))
    with pytest.raises(CheckpointError, match=r"is an index too; .*give the index that does"):
        checkpoints.read(index)


def test_indices_that_name_each_other_are_refused_at_the_first(tmp_path, monkeypatch):
    for i in range(3):
        table = {"weight_map": {"a": f"{(i + 1) % 3}.index.json"}}
        (tmp_path / f"{i}.index.json").write_text(json.dumps(table))
    opened = []
    real = checkpoints.sharded.Source
    counted = lambda path: opened.append(path) or real(path)  # noqa: E731
    monkeypatch.setattr(checkpoints.sharded, "Source", counted)
    with pytest.raises(
        CheckpointError, match=r"0\.index\.json: file '1\.index\.json': is an index"
    ):
        checkpoints.read(tmp_path / "0.index.json")
    assert [path.name for path in opened] == ["1.index.json"]


def test_no_file_of_it_can_be_the_target(tmp_path):
    index = sharded(tmp_path)
    with pytest.raises(CheckpointError):
        bn.convert(index, tmp_path / f"{FILES[1]}.safetensors", force=True, to="torch")


def test_the_folder_says_which_index_to_give(tmp_path):
    index = sharded(tmp_path)
    with pytest.raises(CheckpointError, match=index.name.replace(".", r"\.")):
        checkpoints.read(tmp_path)
