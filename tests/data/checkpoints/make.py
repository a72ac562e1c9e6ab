"""Write the checkpoints of this folder with the real frameworks, one framework per process.

    python tests/data/checkpoints/make.py torch|onnx|safetensors|mindspore|keras|tf_keras|numpy|h5py

Each run also records in expected.json what the framework itself holds under which name: type,
shape and the CRC-32 of the values, and the version that wrote them. Names are the reader's.
"""

from __future__ import annotations

import json
import os
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
RANDOM = np.random.default_rng(20240229)


def facts(array: Any) -> list[Any]:
    """Type, shape, CRC of an array; extension types by name."""
    array = np.asarray(array, order="C")
    return [str(array.dtype), list(array.shape), zlib.crc32(array.tobytes())]


def record(framework: str, version: str, files: dict[str, dict[str, Any]]) -> None:
    path = HERE / "expected.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    known[framework] = {
        "version": version,
        "files": {n: {k: facts(a) for k, a in arrays.items()} for n, arrays in files.items()},
    }
    path.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")


def some(*shape: int, low: float = -1.0) -> Any:
    return RANDOM.uniform(low, 1.0, shape).astype(np.float32)


def make_torch() -> None:
    import argparse

    import ml_dtypes
    import torch

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = torch.nn.Conv2d(3, 4, 3, bias=False)
            self.bn1 = torch.nn.BatchNorm2d(4)
            self.norm = torch.nn.BatchNorm1d(4, affine=False)
            self.fc = torch.nn.Linear(4, 2)
            self.register_buffer("mask", torch.tensor([True, False, True]))

        def forward(self, x: Any) -> Any:
            return self.fc(self.norm(self.bn1(self.conv1(x)).mean((2, 3))))

    def array(tensor: Any) -> Any:
        tensor = tensor.detach().cpu().contiguous()
        if tensor.dtype in codes:
            raw = tensor.view(torch.uint8 if tensor.element_size() == 1 else torch.uint16)
            return raw.numpy().view(codes[tensor.dtype])
        return tensor.numpy()

    codes = {
        getattr(torch, n): np.dtype(getattr(ml_dtypes, n))
        for n in ("bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz",
                  "float8_e5m2fnuz", "float8_e8m0fnu")
    }  # fmt: skip

    def arrays(state: Any) -> dict[str, Any]:
        return {name: array(tensor) for name, tensor in state.items()}

    torch.manual_seed(1)
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    for _ in range(3):
        net(torch.randn(5, 3, 6, 6) * 2 + 1).square().mean().backward()
        optimizer.step()
    state = net.state_dict()
    plain = arrays(state)
    torch.save(state, HERE / "torch.pth")
    torch.save(state, HERE / "torch_protocol4.pth", pickle_protocol=4)
    torch.save(state, HERE / "torch_legacy.pth", _use_new_zipfile_serialization=False)
    torch.serialization.set_crc32_options(False)
    torch.save(state, HERE / "torch_nocrc.pth")
    torch.serialization.set_crc32_options(True)
    torch.save(net.conv1, HERE / "torch_module.pth")
    torch.jit.save(torch.jit.trace(net.fc, torch.ones(1, 4)), HERE / "torch_script.pt")
    nested = {
        "state_dict": state,
        "epoch": 3,
        "arch": "tiny",
        "best": 0.5,
        "args": argparse.Namespace(lr=0.1),
        "numpy_best": np.float64(0.5),
        "optimizer": optimizer.state_dict(),
    }
    torch.save(nested, HERE / "torch_nested.pth")
    torch.save(nested, HERE / "torch_legacy_nested.pth", _use_new_zipfile_serialization=False)
    inside = {f"state_dict/{n}": a for n, a in plain.items()}
    for index, slot in optimizer.state_dict()["state"].items():
        inside[f"optimizer/state/{index}/momentum_buffer"] = array(slot["momentum_buffer"])
    wide = ["float64", "int64", "uint64", "complex64", "complex128", "int32", "uint32"]
    narrow = ["float16", "bfloat16", "int16", "uint16", "int8", "uint8", "float8_e8m0fnu"]
    float8 = ["float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"]
    typed = {
        n: torch.tensor([[1.0, 2.0, 4.0]]).to(getattr(torch, n)) for n in wide + narrow + float8
    }
    typed["bool"] = torch.tensor([[True], [False]])
    torch.save(typed, HERE / "torch_dtypes.pth")
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    odd = torch.ones(3)
    odd.note = "an attribute"
    views = {
        "whole": base,
        "transposed": base.T,
        "sliced": base[1:3, ::2],
        "expanded": torch.tensor([7.0]).expand(3, 2),
        "scalar": torch.tensor(5),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(torch.ones(2, 2)),
        "channels_last": torch.arange(16.0)
        .reshape(1, 2, 2, 4)
        .to(memory_format=torch.channels_last),
        "attribute": odd,
    }
    torch.save(views, HERE / "torch_views.pth")
    torch.save(views, HERE / "torch_legacy_views.pth", _use_new_zipfile_serialization=False)
    torch.save({"x": torch.ones(2, dtype=torch.complex64).conj()}, HERE / "torch_conj.pth")
    record(
        "torch",
        torch.__version__.partition("+")[0],
        {
            "torch.pth": plain,
            "torch_protocol4.pth": plain,
            "torch_legacy.pth": plain,
            "torch_nocrc.pth": plain,
            "torch_nested.pth": inside,
            "torch_legacy_nested.pth": inside,
            "torch_dtypes.pth": arrays(typed),
            "torch_views.pth": arrays(views),
            "torch_legacy_views.pth": arrays(views),
        },
    )


def make_onnx() -> None:
    import warnings

    import torch

    torch.manual_seed(5)
    stem = torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3, eps=1e-3), torch.nn.ReLU()
    net = torch.nn.Sequential(*stem, torch.nn.Flatten(), torch.nn.Linear(3, 2)).eval()
    place, x = HERE / "torch.onnx", torch.zeros(1, 2, 3, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, x, str(place), dynamo=False, do_constant_folding=False,
                          training=torch.onnx.TrainingMode.PRESERVE)  # fmt: skip
    held = {n: t.numpy() for n, t in net.state_dict().items() if t.ndim}
    record("onnx", torch.__version__, {"torch.onnx": held})


def make_safetensors() -> None:
    import safetensors
    import torch
    from safetensors.torch import save_file

    state = {
        "conv1.weight": torch.from_numpy(some(4, 3, 3, 3)),
        "bn1.running_var": torch.from_numpy(some(4, low=0.1)),
        "bn1.num_batches_tracked": torch.tensor(7),
        "half": torch.tensor([1.5, -2.0], dtype=torch.float16),
        "flag": torch.tensor([True]),
    }
    save_file(state, HERE / "pt.safetensors", metadata={"format": "pt", "author": "test"})
    record(
        "safetensors",
        safetensors.__version__,
        {"pt.safetensors": {n: t.numpy() for n, t in state.items()}},
    )


def make_mindspore() -> None:
    import mindspore
    import ml_dtypes
    from mindspore import Tensor, nn

    class Net(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(3, 4, 3)
            self.bn1 = nn.BatchNorm2d(4)
            self.fc = nn.Dense(4, 2)

    net = Net()
    for parameter in net.get_parameters():  # ReduceMean fails beside NumPy 2, so no training here
        parameter.set_data(Tensor(some(*parameter.shape, low=0.1)))
    plain = {p.name: p.asnumpy() for p in net.get_parameters()}
    mindspore.save_checkpoint(net, str(HERE / "mindspore.ckpt"))
    mindspore.save_checkpoint(net, str(HERE / "mindspore_crc.ckpt"), crc_check=True)
    append = {"epoch": 3, "lr": 0.1, "flag": True, "note": "héllo", "big": 1 << 40}
    mindspore.save_checkpoint(net, str(HERE / "mindspore_append.ckpt"), append_dict=append)
    key = b"0123456789abcdef"
    mindspore.save_checkpoint(net.bn1, str(HERE / "mindspore_encrypted.ckpt"), enc_key=key)
    mindspore.save_checkpoint(nn.BatchNorm2d(3), str(HERE / "mindspore_bare.ckpt"))
    mindspore.save_checkpoint(net, str(HERE / "ms.safetensors"), format="safetensors")
    types = {
        n: Tensor(np.array([[1, 2, 4]]), getattr(mindspore, n))
        for n in ("float64", "float16", "bfloat16", "int64", "int32", "int16", "int8")
    }
    for n in ("uint8", "uint16", "uint32", "uint64"):
        types[n] = Tensor(np.array([[1, 2, 4]]), getattr(mindspore, n))
    types["bool"] = Tensor(np.array([True, False]))
    mindspore.save_checkpoint(
        [{"name": n, "data": t} for n, t in types.items()],
        str(HERE / "mindspore_dtypes.ckpt"),
    )
    typed = {
        n: np.array([[1, 2, 4]], ml_dtypes.bfloat16) if n == "bfloat16" else t.asnumpy()
        for n, t in types.items()
    }
    numbers = {"epoch": np.int64(3), "lr": np.float32(0.1), "flag": np.bool_(True)}
    bare = {"mean": np.zeros(3, "f4"), "variance": np.ones(3, "f4")}
    for path in HERE.glob("m*.ckpt"):
        path.chmod(0o644)
    (HERE / "ms.safetensors").chmod(0o644)
    record(
        "mindspore",
        mindspore.__version__,
        {
            "mindspore.ckpt": plain,
            "mindspore_crc.ckpt": plain,
            "mindspore_append.ckpt": {**plain, **numbers, "big": np.int64(1 << 40)},
            "mindspore_bare.ckpt": {**bare, "gamma": np.ones(3, "f4"), "beta": np.zeros(3, "f4")},
            "mindspore_dtypes.ckpt": typed,
            "ms.safetensors": {n: plain[n] for n in sorted(plain)},
        },
    )


def keras_net(keras: Any) -> tuple[Any, dict[str, Any]]:
    """A model whose groups are named against the order of its layers; and its arrays by name."""
    layers = keras.layers
    inner_input = keras.Input((4, 4, 4))
    y = layers.Conv2D(4, 3, name="inner_conv")(inner_input)
    y = layers.BatchNormalization(name="inner_bn", scale=False)(y)
    inner = keras.Model(inner_input, y, name="backbone")
    x = given = keras.Input((4, 4, 3))
    x = layers.Conv2D(4, 1, name="conv1", use_bias=False)(x)
    x = layers.BatchNormalization(name="zz")(x)
    x = layers.BatchNormalization(name="aa", epsilon=1e-5, momentum=0.9, center=False)(x)
    x = layers.DepthwiseConv2D(1, name="depth")(x)
    x = layers.GlobalAveragePooling2D()(inner(x))
    net = keras.Model(given, layers.Dense(2, name="fc")(x), name="net")
    arrays = {}
    for owner, prefix in ((net, ""), (inner, "backbone/")):
        for layer in owner.layers:
            if layer is inner:
                continue
            values = [some(*w.shape, low=0.1) for w in layer.get_weights()]
            layer.set_weights(values)
            for variable, value in zip(layer.weights, values, strict=True):
                name = variable.name.rpartition("/")[2].removesuffix(":0")
                arrays[f"{prefix}{layer.name}/{name}"] = value
    return net, arrays


def indexed(arrays: dict[str, Any], names: dict[str, str] | None = None) -> dict[str, Any]:
    """The same under the names that a file without config gives: `<layer>/<index>`."""
    count: dict[str, int] = {}
    found = {}
    for name, array in arrays.items():
        prefix = name.rpartition("/")[0]
        index = count[prefix] = count.get(prefix, -1) + 1
        found[f"{(names or {}).get(prefix, prefix)}/{index}"] = array
    return found


def subclass(keras: Any) -> Any:
    class Sub(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(name="sub")
            self.blocks = [keras.layers.BatchNormalization(name=n) for n in ("q", "p")]
            self.bn = keras.layers.BatchNormalization(name="mybn")

        def call(self, x: Any) -> Any:
            for block in self.blocks:
                x = block(x)
            return self.bn(x)

    sub = Sub()
    sub(np.ones((2, 3), "f4"))
    for layer in (*sub.blocks, sub.bn):
        layer.set_weights([some(3, low=0.1) for _ in range(4)])
    return sub


def make_keras() -> None:
    os.environ["KERAS_BACKEND"] = "torch"
    import keras
    import ml_dtypes

    net, arrays = keras_net(keras)
    net.save_weights(HERE / "keras.weights.h5")
    net.save(HERE / "keras.keras")
    net.save(HERE / "keras.h5")
    net.compile("sgd", "mse")
    net.save(HERE / "keras_compiled.keras")
    sub = subclass(keras)
    sub.save_weights(HERE / "keras_subclass.weights.h5")
    inside = {
        f"{layer.name}/{i}": w
        for layer in (*sub.blocks, sub.bn)
        for i, w in enumerate(layer.get_weights())
    }
    small = keras.Sequential(
        [keras.Input((3,)), keras.layers.BatchNormalization(name="bn", dtype="bfloat16")]
    )
    small.save_weights(HERE / "keras_bfloat16.weights.h5")
    low = [np.full(3, v, np.float32).astype(ml_dtypes.bfloat16) for v in (1, 0, 0, 1)]
    renorm = keras.Sequential(
        [keras.Input((3,)), keras.layers.BatchNormalization(name="bn", renorm=True)]
    )
    renorm.set_weights([some(*w.shape, low=0.1) for w in renorm.get_weights()])
    renorm.save(HERE / "keras_renorm.keras")
    again = {f"bn/{w.name}": w.value.detach().numpy() for w in renorm.layers[0].weights}
    record(
        "keras",
        keras.__version__,
        {
            "keras.weights.h5": indexed(arrays),
            "keras.keras": arrays,
            "keras.h5": arrays,
            "keras_subclass.weights.h5": inside,
            "keras_bfloat16.weights.h5": {f"bn/{i}": a for i, a in enumerate(low)},
            "keras_renorm.keras": again,
        },
    )


def make_tf_keras() -> None:
    import tf_keras

    net, arrays = keras_net(tf_keras)
    net.save_weights(HERE / "tf_keras_weights.h5")
    net.save_weights(HERE / "tf_keras.weights.h5")
    net.save(HERE / "tf_keras.keras")
    net.save(HERE / "tf_keras.h5")
    sub = subclass(tf_keras)
    sub.save_weights(HERE / "tf_keras_subclass.h5")
    groups = {
        "conv1": "conv2d", "zz": "batch_normalization", "aa": "batch_normalization_1",
        "depth": "depthwise_conv2d", "fc": "dense", "backbone/inner_conv": "functional/conv2d",
        "backbone/inner_bn": "functional/batch_normalization",
    }  # fmt: skip
    record(
        "tf_keras",
        tf_keras.__version__,
        {
            "tf_keras_weights.h5": arrays,
            "tf_keras.weights.h5": indexed(arrays, groups),
            "tf_keras.keras": arrays,
            "tf_keras.h5": arrays,
            "tf_keras_subclass.h5": {
                f"{layer.name}/{w.name.rpartition('/')[2][:-2]}": w.numpy()
                for layer in (*sub.blocks, sub.bn)
                for w in layer.weights
            },
        },
    )


def make_numpy() -> None:
    arrays = {
        "bn1.weight": some(4),
        "bn1.bias": some(4).astype(">f4"),
        "kernel": np.asfortranarray(some(3, 4)),
        "count": np.int64(7),
        "flags": np.array([True, False]),
        "complex": some(2).astype(np.complex128),
        "empty": np.zeros((0, 3), np.float16),
    }
    np.savez(HERE / "numpy.npz", **arrays)
    np.savez_compressed(HERE / "numpy_compressed.npz", **arrays)
    np.savez(HERE / "numpy_object.npz", x=np.array([None, 1], dtype=object))
    native = {n: np.asarray(a, np.asarray(a).dtype.newbyteorder("=")) for n, a in arrays.items()}
    record(
        "numpy",
        np.__version__,
        {"numpy.npz": native, "numpy_compressed.npz": native},
    )


def make_h5py() -> None:
    """A legacy Keras file as tools repack it: chunked, compressed, big-endian, compact."""
    import h5py

    arrays = {"bn/gamma": some(70, 33), "bn/beta": some(5, 3, 2), "bn/mean": some(9)}
    with h5py.File(HERE / "chunked.h5", "w") as file:
        file.attrs["layer_names"] = [b"bn"]
        file.attrs["keras_version"] = "2.15.0"
        group = file.create_group("bn")
        group.attrs["weight_names"] = [f"{name}:0".encode() for name in arrays]
        for (name, array), how in zip(
            arrays.items(),
            (
                {"chunks": (16, 10), "compression": "gzip", "shuffle": True},
                {"chunks": (2, 2, 2), "fletcher32": True},
                {"dtype": ">f4"},
            ),
            strict=True,
        ):
            group.create_dataset(f"{name}:0", data=array, **how)
    newer = {"bn/gamma": some(9, 7), "bn/beta": some(3).astype("c8"), "bn/mean": some(4) > 0}
    with h5py.File(HERE / "newer.h5", "w", libver=("v108", "v108")) as file:
        file.attrs["layer_names"] = ["bn"]
        group = file.create_group("bn")
        group.attrs["weight_names"] = list(newer)
        every = {"chunks": (4, 4), "compression": "gzip", "shuffle": True, "fletcher32": True}
        for name, array in newer.items():
            group.create_dataset(name, data=array, **(every if array.ndim == 2 else {}))
    record("h5py", h5py.__version__, {"chunked.h5": arrays, "newer.h5": newer})


if __name__ == "__main__":
    globals()[f"make_{sys.argv[1]}"]()
