"""Torch's live modules: read as layers of ours, listed, watched while they run, written to.

Not here: finding out whose object something is (`read.py`). No framework is imported: who holds
such a layer has done so. Torch's buffers decide, so they are taken as they are, missing ones
included, as are `eps` and `momentum`, which torch honours when they are changed later.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from batchnorm.errors import InvalidType
from batchnorm.frameworks.hosted import is_host
from batchnorm.frameworks.torch import layers as torch_dialect
from batchnorm.layer import Layer
from batchnorm.vocabulary import Array, as_dtype

__all__ = [
    "ACCEPTED",
    "array_of",
    "bases",
    "is_batch_norm",
    "layers_of",
    "read",
    "recalibrates",
    "run",
    "settings_of",
    "state_of",
    "to_array",
    "watched",
    "write",
]

ACCEPTED = "torch.nn.BatchNorm1d/2d/3d or SyncBatchNorm, a FrozenBatchNorm2d"
CLASSES = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm")
TORCH_NAMES = {"moving_mean": "running_mean", "moving_variance": "running_var"}
Tell = Callable[[str, Array, Any], None]
FROZEN = ("weight", "bias", "running_mean", "running_var")


def bases() -> tuple[type, ...]:
    """What its layers and models are instances of; nothing where it isn't loaded."""
    torch = sys.modules.get("torch")
    return () if torch is None else (torch.nn.Module,)


def is_batch_norm(obj: Any) -> bool:
    """Whether a module is a batch norm by its class, or a frozen one by its buffers and name."""
    torch: Any = sys.modules["torch"]
    if isinstance(obj, torch.nn.modules.batchnorm._BatchNorm):
        return True
    named = any("Frozen" in cls.__name__ and "Norm" in cls.__name__ for cls in type(obj).__mro__)
    buffers = {name for name, value in obj.named_buffers(recurse=False) if value is not None}
    return named and buffers - {"num_batches_tracked"} == set(FROZEN)


def layers_of(model: Any) -> dict[str, Any]:
    """The batch norms inside a module, by their path."""
    return {
        path: inner
        for path, inner in model.named_modules()
        if is_batch_norm(inner) or is_host(inner)
    }


def read(obj: Any) -> Layer:
    """One layer."""
    torch: Any = sys.modules["torch"]
    if not isinstance(obj, torch.nn.modules.batchnorm._NormBase):
        return _read_frozen(obj)
    name = next((n for n in CLASSES for c in type(obj).__mro__ if c.__name__ == n), None)
    if name is None or type(obj).__name__.startswith("Lazy"):
        raise InvalidType(
            f"a torch {type(obj).__name__} can't be read: expected {', '.join(CLASSES)}; a Lazy "
            "layer is one of them after its first call"
        )
    defined = str(type(obj).forward.__module__)
    if not defined.startswith(("torch.", "batchnorm.hosts.torch.")):
        raise InvalidType(
            f"{type(obj).__qualname__} has a forward of its own (in {defined}), so nothing says "
            f"that it is a batch norm; read takes {ACCEPTED}"
        )
    values = {key: getattr(obj, key, None) for key in torch_dialect.BatchNorm2d.STATE}
    arrays = {key: None if v is None else to_array(v) for key, v in values.items()}
    if defined.startswith("batchnorm.") and obj.semantics != "torch":
        ported: Layer = obj.layer_of_another(name, arrays)
        return ported
    # SyncBatchNorm on one process computes as BatchNorm; it takes any rank from 2.
    layer_class = getattr(torch_dialect, name, torch_dialect.BatchNorm2d)
    layer: Layer = layer_class(
        obj.num_features,
        obj.eps,
        obj.momentum,
        obj.affine,
        obj.track_running_stats,
        bias=arrays["bias"] is not None,
    )
    for key, value in arrays.items():
        setattr(layer, key, value)
    layer.training = obj.training
    return layer


def _read_frozen(obj: Any) -> Layer:
    """Fixed statistics and parameters, as in torchvision and detectron2: a layer in evaluation.

    These classes compute in forwards of their own, so the one at hand is asked, on two inputs.
    """
    arrays = {name: to_array(getattr(obj, name)) for name in FROZEN}
    eps = float(getattr(obj, "eps", 0.0))
    layer = torch_dialect.BatchNorm2d(len(arrays["weight"]), eps, 0.0, dtype=arrays["weight"].dtype)
    for name, value in arrays.items():
        setattr(layer, name, value)
    layer.eval()
    torch: Any = sys.modules["torch"]
    own = obj.weight
    offset = own.new_tensor(arrays["running_mean"].astype(np.float64)).reshape(1, -1, 1, 1)
    for scale in (1.0, -2.0):
        x = offset + scale * torch.arange(1, 5).to(own).reshape(1, 1, 2, 2)
        with torch.no_grad():
            theirs = to_array(obj(x)).astype(np.float64)
        ours = layer(to_array(x)).astype(np.float64)
        precision = 64 * max(float(torch.finfo(own.dtype).eps), 1e-7)
        size = np.abs(ours) + np.abs(arrays["running_mean"] * arrays["weight"])[:, None, None] + 1
        if theirs.shape != ours.shape or not (np.abs(theirs - ours) <= precision * size).all():
            raise InvalidType(
                f"{type(obj).__qualname__} has the buffers of a frozen batch norm, but doesn't "
                f"compute (x - mean) / sqrt(var + {eps}) * weight + bias; read takes {ACCEPTED}"
            )
    return layer


def to_array(tensor: Any) -> Array:
    """A copy of a tensor's values."""
    tensor = tensor.detach().cpu()
    if str(tensor.dtype) == "torch.bfloat16":
        return np.array(tensor.float().numpy().astype(as_dtype("bfloat16")))
    return np.array(tensor.numpy())


def settings_of(layer: Any) -> dict[str, float | None]:
    """Epsilon and momentum of a layer, or of one of ours, by their meaning."""
    return {"epsilon": layer.eps, "weight_of_batch": layer.momentum}


def state_of(model: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """A model's arrays as its files name them, and what files say beside; None for no model."""
    arrays = {name: array_of(value) for name, value in model.state_dict().items()}
    settings = {
        path: settings_of(module)
        for path, module in model.named_modules()
        if hasattr(module, "running_var") and hasattr(module, "eps") and hasattr(module, "momentum")
    }
    layers = {
        path: {"form": "conv_transpose" if module.transposed else "conv", "groups": module.groups}
        for path, module in model.named_modules()
        if hasattr(module, "transposed") and hasattr(module, "groups")
    }
    return arrays, {"batchnorm": {"settings": settings}, "layers": layers}


def array_of(tensor: Any) -> Any:
    """A tensor's values on its own memory; None for what is no tensor, or NumPy takes by itself.

    bfloat16, which NumPy hasn't, is taken by its bits.
    """
    if not hasattr(tensor, "detach"):
        return None
    plain = tensor.detach().cpu()
    if str(plain.dtype) == "torch.bfloat16":
        bits = plain.view(sys.modules["torch"].int16)
        return bits.numpy().view(as_dtype("bfloat16"))
    return plain.numpy()


def recalibrates(layer: Any) -> bool:
    """Whether it has running statistics that training would move."""
    if is_host(layer):
        return bool(getattr(layer, "trainable", True))
    return getattr(layer, "running_mean", None) is not None and hasattr(layer, "momentum")


def run(model: Any, batch: Any) -> None:
    """The model on a batch; of a tuple or list, as data loaders make them, on the first."""
    model(batch[0] if isinstance(batch, tuple | list) else batch)


@contextmanager
def watched(layers: Mapping[str, Any], tell: Tell) -> Iterator[None]:
    """A context in which each batch norm normalizes by its batch and tells its input.

    Afterwards all is as before; gradients are off, and all other modules keep their mode.
    """
    torch: Any = sys.modules["torch"]

    def hook(path: str, _: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        tell(path, to_array(given[0] if given else next(iter(named.values()))), None)

    before = [
        (layer, layer.training, {k: v.clone() for k, v in layer.named_buffers(recurse=False)})
        for layer in layers.values()
    ]
    handles = [
        layer.register_forward_pre_hook(partial(hook, path), with_kwargs=True)
        for path, layer in layers.items()
    ]
    try:
        for layer in layers.values():
            layer.training = True
        with torch.no_grad():
            yield
    finally:
        for handle in handles:
            handle.remove()
        with torch.no_grad():
            for layer, training, buffers in before:
                layer.training = training
                for name, value in buffers.items():
                    getattr(layer, name).copy_(value)


def write(layer: Any, values: Mapping[str, Array]) -> None:
    """Into the buffers, in their own types and on their own devices.

    A layer of ours inside torch may have them under torch's names.
    """
    torch: Any = sys.modules["torch"]
    with torch.no_grad():
        for name, value in values.items():
            own = name if hasattr(layer, name) else TORCH_NAMES[name]
            getattr(layer, own).copy_(torch.from_numpy(value.astype("float64")))
