"""The real frameworks open what this package writes. One framework per process:

    python tests/checkpoints/opening.py torch|safetensors|mindspore|keras|tf_keras|numpy|h5py

Prints one JSON line per check; test_opening.py runs it and reads them.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

DATA = Path(__file__).parents[1] / "data" / "checkpoints"
CHECKS: dict[str, list[Callable[[Path], None]]] = {}
OWN = {"batchnorm": {"bn1": {"epsilon": 1e-5, "momentum": 0.1}}}


def check(framework: str) -> Callable[[Callable[[Path], None]], Callable[[Path], None]]:
    def register(function: Callable[[Path], None]) -> Callable[[Path], None]:
        CHECKS.setdefault(framework, []).append(function)
        return function

    return register


def rewritten(name: str, target: Path, **options: Any) -> Any:
    """A real file written again by this package; its arrays."""
    from batchnorm import checkpoints

    with checkpoints.read(DATA / name) as checkpoint:
        options.setdefault("metadata", {**checkpoint.metadata, **OWN})
        checkpoints.write(target, checkpoint, **options)
        return checkpoint.load()


def same(left: Any, right: Any) -> None:
    left, right = np.asarray(left), np.asarray(right)
    assert (left.shape, left.dtype) == (right.shape, right.dtype), (left, right)
    assert left.tobytes() == right.tobytes()


def make() -> Any:
    specification = importlib.util.spec_from_file_location("make", DATA / "make.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


# torch


def torch_net() -> Any:
    import torch

    net = torch.nn.Module()
    net.conv1 = torch.nn.Conv2d(3, 4, 3, bias=False)
    net.bn1 = torch.nn.BatchNorm2d(4)
    net.norm = torch.nn.BatchNorm1d(4, affine=False)
    net.fc = torch.nn.Linear(4, 2)
    net.register_buffer("mask", torch.zeros(3, dtype=torch.bool))
    return net


@check("torch")
def torch_loads_strictly_with_weights_only(folder: Path) -> None:
    import torch

    arrays = rewritten("torch.pth", folder / "a.pth", extras={"epoch": 3})
    for options in ({}, {"mmap": True}):
        net = torch_net()
        state = torch.load(folder / "a.pth", weights_only=True, **options)
        assert state._metadata["bn1"] == {"version": 2}
        assert str(net.load_state_dict(state, strict=True)) == "<All keys matched successfully>"
        for name, tensor in net.state_dict().items():
            same(tensor.numpy(), arrays[name])


@check("torch")
def torch_loads_strictly_without_batch_counts_when_no_version_is_given(folder: Path) -> None:
    import torch

    from batchnorm import checkpoints

    with checkpoints.read(DATA / "torch.pth") as checkpoint:
        kept = {n: e for n, e in checkpoint.items() if not n.endswith("num_batches_tracked")}
        checkpoints.write(folder / "b.pth", kept)
        checkpoints.write(folder / "c.pth", kept, metadata={"layers": {"bn1": {"version": 2}}})
    torch_net().load_state_dict(torch.load(folder / "b.pth", weights_only=True), strict=True)
    versioned = torch.load(folder / "c.pth", weights_only=True)
    with pytest.raises(RuntimeError, match=r"bn1\.num_batches_tracked"):
        torch_net().load_state_dict(versioned, strict=True)


@check("torch")
def torch_loads_every_type_and_aligned(folder: Path) -> None:
    import torch

    rewritten("torch_dtypes.pth", folder / "d.pth")
    ours = torch.load(folder / "d.pth", weights_only=True, mmap=True)
    theirs = torch.load(DATA / "torch_dtypes.pth", weights_only=True)
    assert list(ours) == list(theirs)
    for name, tensor in theirs.items():
        assert (ours[name].dtype, ours[name].shape) == (tensor.dtype, tensor.shape)
        assert bytes(ours[name].untyped_storage()) == bytes(tensor.untyped_storage())
        assert ours[name].data_ptr() % 64 == 0


@check("torch")
def torch_loads_views_scalars_and_empty_tensors(folder: Path) -> None:
    import torch

    arrays = rewritten("torch_views.pth", folder / "e.pth")
    for name, tensor in torch.load(folder / "e.pth", weights_only=True).items():
        same(tensor.numpy(), arrays[name])


@check("torch")
def torch_reads_a_big_endian_file_as_we_do(folder: Path) -> None:
    import zipfile

    import torch

    from batchnorm import checkpoints

    with zipfile.ZipFile(DATA / "torch.pth") as old, zipfile.ZipFile(folder / "f.pth", "w") as new:
        for info in old.infolist():
            content = old.read(info)
            if info.filename.endswith("byteorder"):
                content = b"big"
            if info.filename == "torch/data/1":
                content = np.frombuffer(content, "<f4").astype(">f4").tobytes()
            new.writestr(info.filename, content)
    theirs = torch.load(folder / "f.pth", weights_only=True)
    with checkpoints.read(folder / "f.pth") as ours:
        for name, tensor in theirs.items():
            same(ours[name].load(), tensor.numpy())


@check("torch")
def torch_and_safetensors_load_the_same_state(folder: Path) -> None:
    from safetensors.torch import load_file

    arrays = rewritten("torch.pth", folder / "g.safetensors", framework="torch")
    net = torch_net()
    net.load_state_dict(load_file(folder / "g.safetensors"), strict=True)
    for name, tensor in net.state_dict().items():
        same(tensor.numpy(), arrays[name])


@check("torch")
def what_training_loops_save_is_read(folder: Path) -> None:
    import collections
    import datetime

    import torch

    from batchnorm import checkpoints

    net = torch_net()
    optimizer = torch.optim.AdamW(net.parameters())
    net.bn1(net.conv1(torch.randn(2, 3, 8, 8))).sum().backward()
    optimizer.step()
    average = torch.optim.swa_utils.AveragedModel(net)
    tied = torch.nn.ModuleDict({"a": net.fc, "b": net.fc})
    whole = {
        "model": torch.nn.DataParallel(net).state_dict(),
        "ema": average.state_dict(),
        "tied": tied.state_dict(),
        "optimizer": optimizer.state_dict(),
        "steps": torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 5]).state_dict(),
        "cosine": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10).state_dict(),
        "rng": torch.get_rng_state(),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "best": np.float32(0.5),
        "history": np.arange(3),
        "by": collections.defaultdict(list, {"loss": [1.0, float("nan")]}),
        "names": {"a", "b"},
        "slice": slice(1, 2),
        "raw": bytearray(b"x"),
        "when": datetime.date(2024, 2, 29),
        "where": Path("x"),
    }
    wanted: dict[str, Any] = {}

    def collect(path: str, value: Any) -> None:
        if isinstance(value, torch.Tensor):
            wanted[path] = value.detach().contiguous().reshape(-1).view(torch.uint8).numpy()
        elif isinstance(value, dict | list):
            for key, child in value.items() if isinstance(value, dict) else enumerate(value):
                collect(f"{path}/{key}" if path else str(key), child)

    collect("", whole)
    assert len(wanted) == 40
    for options in ({}, {"pickle_protocol": 4}, {"pickle_protocol": 5},
                    {"_use_new_zipfile_serialization": False}):  # fmt: skip
        torch.save(whole, folder / "h.pth", **options)
        with checkpoints.read(folder / "h.pth") as checkpoint:
            assert {n: e.load().tobytes() for n, e in checkpoint.items()} == {
                n: bytes(a) for n, a in wanted.items()
            }
            assert set(checkpoint.metadata["torch"]["skipped"]) == {
                "best", "history", "names", "slice", "raw", "when", "where",
            }  # fmt: skip


@check("torch")
def tensors_that_numpy_has_no_form_of_are_refused_by_name(folder: Path) -> None:
    import torch

    from batchnorm import checkpoints
    from batchnorm.errors import CheckpointError

    cases = {
        "dequantize": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
        "to_dense": torch.eye(2).to_sparse(),
        "meta device": torch.ones(2, device="meta"),
        "complex32": torch.ones(2, dtype=torch.complex32),
    }
    for advice, tensor in cases.items():
        for zipped in (True, False):
            torch.save({"x": tensor}, folder / "i.pth", _use_new_zipfile_serialization=zipped)
            with pytest.raises(CheckpointError, match=advice):
                checkpoints.read(folder / "i.pth")


# safetensors


@check("safetensors")
def safetensors_loads_every_type_and_the_metadata(folder: Path) -> None:
    from safetensors import safe_open

    from batchnorm import checkpoints

    with checkpoints.read(DATA / "torch_dtypes.pth") as checkpoint:
        kept = {n: e for n, e in checkpoint.items() if n != "complex128"}
        checkpoints.write(folder / "a.safetensors", kept, framework="torch", metadata=OWN)
        arrays = {n: e.load() for n, e in kept.items()}
    with safe_open(folder / "a.safetensors", "pt") as file:
        assert file.metadata()["format"] == "pt"
        assert set(file.keys()) == set(arrays)
        for name in file.keys():  # noqa: SIM118 - it is no mapping
            tensor = file.get_tensor(name)
            assert list(tensor.shape) == list(arrays[name].shape)
            assert bytes(tensor.untyped_storage()) == arrays[name].tobytes()


# mindspore


def mindspore_net() -> Any:
    from mindspore import nn

    net = nn.Cell()
    net.conv1 = nn.Conv2d(3, 4, 3)
    net.bn1 = nn.BatchNorm2d(4)
    net.fc = nn.Dense(4, 2)
    return net


@check("mindspore")
def mindspore_loads_with_nothing_left_over(folder: Path) -> None:
    import mindspore

    for name, options in (("a", {}), ("b", {"crc": True})):
        arrays = rewritten("mindspore.ckpt", folder / f"{name}.ckpt", **options)
        path = str(folder / f"{name}.ckpt")
        net = mindspore_net()
        loaded = mindspore.load_checkpoint(path, crc_check=bool(options))
        assert mindspore.load_param_into_net(net, loaded, strict_load=True) == ([], [])
        for parameter in net.get_parameters():
            same(parameter.asnumpy(), arrays[parameter.name])


@check("mindspore")
def mindspore_notices_a_wrong_crc_of_ours(folder: Path) -> None:
    import mindspore

    rewritten("mindspore.ckpt", folder / "c.ckpt", crc=True)
    content = bytearray((folder / "c.ckpt").read_bytes())
    content[60] ^= 1
    (folder / "d.ckpt").write_bytes(content)
    with pytest.raises(ValueError, match="Failed to read") as caught:
        mindspore.load_checkpoint(str(folder / "d.ckpt"), crc_check=True)
    assert "crc check is failed" in str(caught.value.__cause__)


@check("mindspore")
def mindspore_joins_slices_as_we_cut_them(folder: Path) -> None:
    import mindspore

    from batchnorm import checkpoints
    from batchnorm.checkpoints import mindspore_ckpt

    whole = mindspore_ckpt.SLICE
    mindspore_ckpt.SLICE = 40  # bytes instead of 512 MiB
    try:
        arrays = rewritten("mindspore.ckpt", folder / "e.ckpt")
    finally:
        mindspore_ckpt.SLICE = whole
    loaded = mindspore.load_checkpoint(str(folder / "e.ckpt"))
    with checkpoints.read(folder / "e.ckpt") as ours:
        for name, array in arrays.items():
            same(loaded[name].asnumpy(), array)
            same(ours[name].load(), array)


@check("mindspore")
def mindspore_loads_every_type_and_what_append_dict_adds(folder: Path) -> None:
    import mindspore

    rewritten("mindspore_dtypes.ckpt", folder / "f.ckpt")
    ours = mindspore.load_checkpoint(str(folder / "f.ckpt"))
    theirs = mindspore.load_checkpoint(str(DATA / "mindspore_dtypes.ckpt"))
    assert list(ours) == list(theirs)
    for name, parameter in theirs.items():
        assert (ours[name].dtype, ours[name].shape) == (parameter.dtype, parameter.shape)
        assert ours[name].get_bytes() == parameter.get_bytes()
    rewritten("mindspore_append.ckpt", folder / "g.ckpt")
    loaded = mindspore.load_checkpoint(str(folder / "g.ckpt"))
    assert loaded["note"] == "héllo"
    assert int(loaded["epoch"]) == 3
    assert loaded["epoch"].shape == ()


@check("mindspore")
def mindspore_never_sees_an_empty_vector_that_it_would_misread(folder: Path) -> None:
    import mindspore

    from batchnorm import checkpoints

    arrays = {"a": np.ones(2, "f4"), "b": np.zeros(0, "f4"), "c": np.zeros((0, 3), "f4")}
    checkpoints.write(folder / "i.ckpt", arrays)
    loaded = mindspore.load_checkpoint(str(folder / "i.ckpt"))
    assert {n: p.shape for n, p in loaded.items()} == {"a": (2,), "c": (0, 3)}
    with checkpoints.read(folder / "i.ckpt") as ours:
        assert {n: e.shape for n, e in ours.items()} == {n: a.shape for n, a in arrays.items()}


@check("mindspore")
def mindspore_loads_our_safetensors(folder: Path) -> None:
    import mindspore

    arrays = rewritten("mindspore.ckpt", folder / "h.safetensors", framework="mindspore")
    net = mindspore_net()
    loaded = mindspore.load_checkpoint(str(folder / "h.safetensors"), format="safetensors")
    assert mindspore.load_param_into_net(net, loaded, strict_load=True) == ([], [])
    for parameter in net.get_parameters():
        same(parameter.asnumpy(), arrays[parameter.name])


# Keras 2 and 3


def keras_of(name: str) -> Any:
    if name == "tf_keras":
        import tf_keras

        return tf_keras
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    return keras


def keras_holds(net: Any, arrays: dict[str, Any]) -> None:
    """Compare a model's variables with arrays by entry name, the optimizer's left out."""
    found = 0
    for owner, prefix in ((net, ""), (net.get_layer("backbone"), "backbone/")):
        for layer in owner.layers:
            if layer.name == "backbone":
                continue
            for variable, value in zip(layer.weights, layer.get_weights(), strict=True):
                name = variable.name.rpartition("/")[2].removesuffix(":0")
                same(value, arrays[f"{prefix}{layer.name}/{name}"])
                found += 1
    assert found == 17


def changed(name: str) -> dict[str, Any]:
    """A real file's arrays with other values."""
    from batchnorm import checkpoints

    with checkpoints.read(DATA / name) as checkpoint:
        return {n: e.load() * np.float32(1.5) for n, e in checkpoint.items()}


def keras_checks(which: str) -> None:
    def loads_weights(folder: Path) -> None:
        keras = keras_of(which)
        net, _ = make().keras_net(keras)
        for name in (f"{which}.keras", f"{which}.h5"):
            target = folder / f"{name}.weights.h5"
            # The .keras names the groups; of the .h5 the layers' classes make them.
            arrays = rewritten(name, target, framework=which)
            net.load_weights(target)
            keras_holds(net, arrays)

    def loads_legacy_weights(folder: Path) -> None:
        keras = keras_of(which)
        net, _ = make().keras_net(keras)
        for name in (f"{which}.keras", f"{which}.h5"):
            arrays = rewritten(name, folder / "legacy.h5", framework=which, force=True)
            net.load_weights(folder / "legacy.h5")
            keras_holds(net, arrays)

    def loads_a_model_from_a_template(folder: Path) -> None:
        from batchnorm import checkpoints

        keras = keras_of(which)
        for suffix in ("keras", "h5"):
            arrays = changed(f"{which}.{suffix}")
            target = folder / f"model.{suffix}"
            template = DATA / f"{which}.{suffix}"
            checkpoints.write(target, arrays, template=template, metadata=OWN)
            net = keras.models.load_model(target, compile=False)
            keras_holds(net, arrays)
            with checkpoints.read(target) as again:
                assert again.metadata["batchnorm"] == OWN["batchnorm"]
                assert again.metadata["layers"]["aa"]["config"]["epsilon"] == 1e-5

    def loads_weights_from_a_template(folder: Path) -> None:
        from batchnorm import checkpoints

        keras = keras_of(which)
        net, _ = make().keras_net(keras)
        whole = changed(f"{which}.keras")
        with checkpoints.read(DATA / f"{which}.keras") as model:
            paths = {p: f["path"] for p, f in model.metadata["layers"].items()}
        with checkpoints.read(DATA / f"{which}.weights.h5") as template:
            names = {f["path"]: p for p, f in template.metadata["layers"].items()}
            count: dict[str, int] = {}
            renamed = {}
            for name, array in whole.items():
                prefix = names[paths[name.rpartition("/")[0]]]
                index = count[prefix] = count.get(prefix, -1) + 1
                renamed[f"{prefix}/{index}"] = array
            checkpoints.write(folder / "t.weights.h5", renamed, template=template, metadata=OWN)
        net.load_weights(folder / "t.weights.h5")
        keras_holds(net, whole)

    checks = (loads_weights, loads_legacy_weights, loads_a_model_from_a_template,
              loads_weights_from_a_template)  # fmt: skip
    for function in checks:
        function.__name__ = f"{which}_{function.__name__}"
        check(which)(function)


keras_checks("keras")
keras_checks("tf_keras")


@check("keras")
def keras_loads_bfloat16(folder: Path) -> None:
    keras = keras_of("keras")
    rewritten("keras_bfloat16.weights.h5", folder / "b.weights.h5")
    net = keras.Sequential(
        [keras.Input((3,)), keras.layers.BatchNormalization(name="bn", dtype="bfloat16")]
    )
    net.layers[0].set_weights([np.full(3, 7.0, "f4")] * 4)
    net.load_weights(folder / "b.weights.h5")
    for value, expected in zip(net.get_weights(), (1, 0, 0, 1), strict=True):
        assert np.asarray(value, "f4").tolist() == [expected] * 3


@check("tf_keras")
def tf_keras_loads_a_subclassed_model(folder: Path) -> None:
    keras = keras_of("tf_keras")
    arrays = rewritten("tf_keras_subclass.h5", folder / "s.h5", framework="tf_keras")
    sub = make().subclass(keras)
    sub.load_weights(folder / "s.h5")
    for layer in (*sub.blocks, sub.bn):
        for variable, value in zip(layer.weights, layer.get_weights(), strict=True):
            same(value, arrays[f"{layer.name}/{variable.name.rpartition('/')[2][:-2]}"])


# numpy, h5py


@check("numpy")
def numpy_loads_without_pickle(folder: Path) -> None:
    arrays = rewritten("numpy.npz", folder / "a.npz")
    with np.load(folder / "a.npz", allow_pickle=False) as file:
        assert set(file.files) == {*arrays, "__batchnorm__"}
        for name, array in arrays.items():
            same(file[name], array)


@check("numpy")
def numpy_loads_bfloat16_as_it_saves_it_itself(folder: Path) -> None:
    import ml_dtypes

    from batchnorm import checkpoints

    array = np.arange(3).astype(ml_dtypes.bfloat16)
    checkpoints.write(folder / "b.npz", {"x": array})
    np.savez(folder / "c.npz", x=array)
    with np.load(folder / "b.npz") as ours, np.load(folder / "c.npz") as theirs:
        assert ours["x"].dtype == theirs["x"].dtype == np.dtype("V2")
        same(ours["x"].view(ml_dtypes.bfloat16), array)


@check("h5py")
def h5py_reads_and_extends_what_we_write(folder: Path) -> None:
    import h5py

    from batchnorm import checkpoints

    arrays = {f"layer{i:04}/{n}": np.full((2, 3), i, t) for i in range(700)
              for n, t in (("a", "f4"), ("b", "i8"), ("c", "?"), ("z", "c8"))}  # fmt: skip
    checkpoints.write(folder / "a.h5", arrays, extras={"long": "x" * 200_000})
    with h5py.File(folder / "a.h5", "a") as file:
        names = [n.decode() if isinstance(n, bytes) else n for n in file.attrs["layer_names"]]
        assert names == sorted(file)
        assert file["layer0007/layer0007/c:0"].dtype == bool
        file.attrs["more"] = 1
        file["layer0007/new"] = 2.0
        del file["layer0008"]
    with h5py.File(folder / "a.h5") as file:
        assert len(file) == 699
        for name in names[9:]:
            same(file[f"{name}/{name}/a:0"][()], arrays[f"{name}/a"])
            same(file[f"{name}/{name}/z:0"][()], arrays[f"{name}/z"])


def main(framework: str) -> None:
    for function in CHECKS[framework]:
        with tempfile.TemporaryDirectory() as folder:
            try:
                function(Path(folder))
                trouble = None
            except BaseException:
                trouble = traceback.format_exc()
        print(json.dumps({"check": function.__name__, "trouble": trouble}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
