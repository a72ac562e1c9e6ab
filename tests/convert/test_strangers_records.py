"""What a file says about an earlier conversion is a stranger's word: refused or passed over."""

import itertools
import json
import zipfile

import numpy as np
import pytest

import batchnorm as bn
from batchnorm.errors import BatchNormError

NAMES = ("weight", "bias", "running_mean", "running_var")
STATE = {f"bn.{name}": np.full(3, i + 1.5, "f4") for i, name in enumerate(NAMES)}
ODD = [
    None, True, -1, 1 << 70, int("1" + "0" * 320), float("nan"), float("-inf"), 2.5, "", "\x1b[2J",
    [], ["a", 1], [[]], {}, {"bn": 3}, {"bn": []}, {"bn": None}, {"bn": {"version": "2"}},
    {"bn": {"epsilon": int("1" + "0" * 320), "weight_of_batch": float("inf")}},
    {"bn": {"epsilon": float("nan"), "weight_of_running": "0.9"}},
    {"bn": {"class_name": 7}}, {"bn": {"path": ["x"]}}, {"bn": {"config": 1}},
    {"bn": {"weights": "gamma"}}, {"bn": {"gamma": ["f4", [3], "AAAA"]}},
    {"bn": {"gamma": ["f4", [1 << 70, 0], ""]}}, {"bn": 1 << 70}, {"bn": -(1 << 70)},
    {"bn.running_mean": ["bn.running_mean", [3], [0], [1 << 70, 0]]},
    {"bn.running_mean": ["bn.running_mean", [3], [0], [2]]},
    {"bn.running_mean": ["../../x", [1, 3], [1, 0], [3]]},
    {"skipped": {"a": 1}}, {"version": {"a": 1}}, {"crc": []},
    {"bn": {"arrays": {"bn.gamma": 1}, "epsilon": 1e-3, "bias": True, "framework": "torch"}},
    {"bn": {"arrays": {}, "epsilon": float("nan"), "bias": 0, "framework": ["torch"]}},
]  # fmt: skip
PARTS = ("version", "framework", "source", "origin", "names", "paths", "made", "dropped", "tracked",
         "kept", "wrapper", "settings", "scalars", "layers", "folded", "aside")  # fmt: skip
TOP = ("layers", "safetensors", "batchnorm", "extras", "npz_types", "torch", "keras", "mindspore",
       "anything")  # fmt: skip


def torch_file(path, own):
    bn.checkpoints.write(path, STATE)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/.data/__batchnorm__", json.dumps(own))


def npz_file(path, own):
    arrays = {"__batchnorm__": np.frombuffer(json.dumps(own).encode(), "u1"), **STATE}
    np.savez(path, **arrays)


def attempt(path, folder):
    """Everything that reads the record: each ends well or with an error of this package."""
    targets = ("x.ckpt", "x.h5")
    jobs = [lambda: bn.inspect(path, framework="torch"), lambda: bn.compare(path, path)]
    jobs += [
        lambda target=target: bn.convert(
            path, folder / target, from_framework="torch", force=True, allow_missing=True
        )
        for target in targets
    ]
    jobs.append(lambda: bn.convert(path, folder / "y.pth", to="torch", unfold=True, force=True))
    for job in jobs:
        try:
            job()
        except BatchNormError:
            continue


@pytest.mark.parametrize("write", [torch_file, npz_file])
def test_no_part_of_the_entry_can_do_harm(write, tmp_path):
    path = tmp_path / ("a.pth" if write is torch_file else "a.npz")
    draws = itertools.product(TOP, ODD[::2]) if write is torch_file else zip(TOP, ODD, strict=False)
    for name, value in draws:
        path.unlink(missing_ok=True)
        write(path, {name: value})
        attempt(path, tmp_path)


@pytest.mark.parametrize("framework", ["torch", "mindspore"])
@pytest.mark.parametrize("part", PARTS)
def test_no_part_of_the_record_can_do_harm(part, framework, tmp_path):
    path = tmp_path / "a.npz"
    for value in ODD[:: 1 if framework == "torch" else 2]:
        record = {"version": 1, "framework": "torch", "source": {"framework": framework}}
        npz_file(path, {"batchnorm": {**record, part: value}})
        attempt(path, tmp_path)


COUNTS = {
    "nan": np.float32("nan"), "inf": np.float64("-inf"), "half": np.float32(2.5),
    "complex": np.complex64(3 + 1j), "bool": np.bool_(True), "large": np.uint64(2**64 - 1),
    "negative": np.int64(-3), "float": np.float32(7), "pair": np.zeros(2, "i8"),
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTS)
def test_a_counter_that_is_no_number_is_told(name, tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, **STATE, **{"bn.num_batches_tracked": COUNTS[name]})
    attempt(path, tmp_path)
    found = bn.inspect(path, framework="torch").layers[0]
    if name in ("nan", "inf", "half", "complex", "bool"):
        assert found.batches is None
        assert "is no number of batches" in found.trouble[-1]
        done = bn.convert(path, tmp_path / "b.ckpt", from_framework="torch", force=True)
        assert any("is no number of batches" in row.what for row in done.report.rows)
    elif name == "float":
        assert (found.batches, found.trouble) == (7, ())
        bn.convert(path, tmp_path / "b.ckpt", from_framework="torch", force=True)
        bn.convert(tmp_path / "b.ckpt", tmp_path / "c.pth")
        with bn.checkpoints.read(tmp_path / "c.pth") as back:
            assert back["bn.num_batches_tracked"].load() == 7


KEYS = {
    "floats": {0.25: 1e-3, float("nan"): 2}, "tuples": {(1, 2): "a", ("x",): [1]},
    "bytes": {b"a": 1, b"b": b"c"}, "large": {1 << 60: 1, -(1 << 70): 2},
    "types": {frozenset("a"): 1}, "none": {None: 1, True: 2},
}  # fmt: skip


@pytest.mark.parametrize("name", KEYS)
def test_keys_beside_the_model_that_are_no_names_are_told_and_left(name, tmp_path):
    torch = pytest.importorskip("torch")
    state = {f"net.{key}": torch.from_numpy(value) for key, value in STATE.items()}
    torch.save({"state_dict": state, "beside": KEYS[name]}, tmp_path / "a.pth")
    found = bn.inspect(tmp_path / "a.pth")
    assert [facts.layer for facts in found.layers] == ["net.bn"]
    told = [kind for path, kind in found.passed_over.items() if path.startswith("beside/<")]
    assert bool(told) == (name != "none")
    assert all("under keys that are no names" in kind for kind in told)
    assert bn.convert(tmp_path / "a.pth", tmp_path / "b.ckpt").report.written
