"""Torch's live modules: read as layers of ours, listed, watched while they run, written to.

Not here: finding out whose object something is (`read.py`). No framework is imported: who holds
such a layer has done so. Torch's buffers decide, so they are taken as they are, missing ones
included, as are `eps` and `momentum`, which torch honours when they are changed later.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

from batchnorm.errors import InvalidType
from batchnorm.frameworks.hosted import is_host
from batchnorm.frameworks.torch import calls, frozen
from batchnorm.frameworks.torch import layers as torch_dialect
from batchnorm.frameworks.torch.values import array_of, to_array
from batchnorm.layer import Layer
from batchnorm.vocabulary import Array

__all__ = [
    "ACCEPTED",
    "adds",
    "array_of",
    "bases",
    "is_batch_norm",
    "layers_of",
    "read",
    "recalibrates",
    "rule_of",
    "run",
    "settings_of",
    "state_of",
    "to_array",
    "watched",
    "write",
]

ACCEPTED = (
    "torch.nn.BatchNorm1d/2d/3d or SyncBatchNorm, a class derived from them, a FrozenBatchNorm2d"
)
CLASSES = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm")
TORCH_NAMES = {"moving_mean": "running_mean", "moving_variance": "running_var"}
BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
Tell = Callable[[str, Array, Any], None]


def bases() -> tuple[type, ...]:
    """What its layers and models are instances of; nothing where it isn't loaded."""
    torch = sys.modules.get("torch")
    return () if torch is None else (torch.nn.Module,)


def is_batch_norm(obj: Any) -> bool:
    """Whether a module is a batch norm by its class, or a frozen one by its buffers."""
    torch: Any = sys.modules["torch"]
    if isinstance(obj, torch.nn.modules.batchnorm._BatchNorm):
        return True
    return frozen.is_frozen(obj)


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
        return frozen.read(obj)
    if calls.own_forward(obj) and not (trial := calls.tried(obj)).calls:
        raise InvalidType(
            f"{type(obj).__qualname__} has a forward of its own (in {type(obj).forward.__module__})"
            f", which isn't known to be a batch norm: {trial.why}; read takes {ACCEPTED}"
        )
    return rule_of(obj)


def rule_of(obj: Any) -> Layer:
    """The layer of torch's class from which an object's class derives, whatever its forward is."""
    torch: Any = sys.modules["torch"]
    if not isinstance(obj, torch.nn.modules.batchnorm._NormBase):
        return frozen.read(obj)
    name = next((n for n in CLASSES for c in type(obj).__mro__ if c.__name__ == n), None)
    if name is None or calls.is_lazy(obj):
        raise InvalidType(
            f"a torch {type(obj).__name__} can't be read: expected {', '.join(CLASSES)}; a Lazy "
            "layer is one of them after its first call"
        )
    values = {key: getattr(obj, key, None) for key in torch_dialect.BatchNorm2d.STATE}
    arrays = {key: None if v is None else to_array(v) for key, v in values.items()}
    bound = vars(obj).get("forward")  # of our host, or somebody's
    if getattr(bound, "ported", False):
        ported: Layer = bound.layer_of_another(arrays)
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


def adds(obj: Any) -> str:
    """What a layer's forward does that isn't read, in words; nothing for most."""
    if frozen.is_frozen(obj):
        return _children(obj) if dict(obj.named_children()) else ""
    if not calls.own_forward(obj) or not calls.tried(obj).adds:
        return ""
    return _children(obj) or f"the forward of {type(obj).__qualname__} adds to batch norm"


def _children(obj: Any) -> str:
    torch: Any = sys.modules["torch"]
    inner = [
        f"{name}={type(child).__name__}"
        for name, child in obj.named_children()
        if type(child) is not torch.nn.Identity
    ]
    return f"{type(obj).__qualname__} holds {', '.join(inner)}" if inner else ""


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


def recalibrates(layer: Any) -> bool:
    """Whether it has running statistics that training would move."""
    if is_host(layer):
        return bool(getattr(layer, "trainable", True))
    return getattr(layer, "running_mean", None) is not None and hasattr(layer, "momentum")


def run(model: Any, batch: Any) -> None:
    """The model on a batch, as data loaders make them.

    Of a tuple or list on the first; a mapping's entries by name, where the model's forward has
    arguments of all these names, else the mapping itself.
    """
    if isinstance(batch, Mapping) and _takes(model, batch):
        model(**batch)
    else:
        model(batch[0] if isinstance(batch, tuple | list) else batch)


def _takes(model: Any, batch: Mapping[Any, Any]) -> bool:
    """Whether a forward has arguments of these names; of a wrapper, that of the model inside."""
    parameters = inspect.signature(model.forward).parameters
    kinds = {one.kind for one in parameters.values()}
    names = {k for k, one in parameters.items() if one.kind in BY_NAME}
    if names >= set(batch):
        return True
    inner = getattr(model, "module", getattr(model, "_orig_mod", None))
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        return False
    return _takes(inner, batch) if inner is not None else all(isinstance(k, str) for k in batch)


@contextmanager
def watched(layers: Mapping[str, Any], tell: Tell) -> Iterator[None]:
    """A context in which each batch norm normalizes by its batch and tells its input.

    Afterwards all is as before; gradients are off, and all other modules keep their mode.
    """
    torch: Any = sys.modules["torch"]

    def hook(path: str, _: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        tell(path, to_array(given[0] if given else next(iter(named.values()))), None)

    if "torch._dynamo" in sys.modules:  # a compiled model breaks its graph here
        hook = torch.compiler.disable(hook)
    before = [
        (layer, layer.training, {k: v.clone() for k, v in layer.named_buffers(recurse=False)})
        for layer in layers.values()
    ]
    insides = {path: one for path, one in layers.items() if _calls_inside(one)}
    handles = [
        layer.register_forward_pre_hook(partial(hook, path), with_kwargs=True)
        for path, layer in layers.items()
        if path not in insides
    ]
    paths = {id(one.running_mean): path for path, one in insides.items()}
    bound = [(vars(one), vars(one).pop("forward", None)) for one in insides.values()]

    def answer(call: calls.FunctionCall, compute: Callable[[], Any]) -> Any:
        path = paths.get(id(call.running_mean))
        if path is not None:
            tell(path, to_array(call.input), None)
        return compute()

    try:
        for layer in layers.values():
            layer.training = True
        listening = calls.listening(answer) if insides else nullcontext()
        with torch.no_grad(), listening:
            yield
    finally:
        for handle in handles:
            handle.remove()
        for attributes, forward in bound:  # our host's, which computes what it hears
            if forward is not None:
                attributes["forward"] = forward
        with torch.no_grad():
            for layer, training, buffers in before:
                layer.training = training
                for name, value in buffers.items():
                    getattr(layer, name).copy_(value)


def _calls_inside(layer: Any) -> bool:
    """Whether what a batch norm gets is known from the call in its forward alone."""
    if is_host(layer) or not calls.own_forward(layer):
        return False
    return calls.tried(layer).calls


def write(layer: Any, values: Mapping[str, Array]) -> None:
    """Into the buffers, in their own types and on their own devices.

    A layer of ours inside torch may have them under torch's names.
    """
    torch: Any = sys.modules["torch"]
    with torch.no_grad():
        for name, value in values.items():
            own = name if hasattr(layer, name) else TORCH_NAMES[name]
            getattr(layer, own).copy_(torch.from_numpy(value.astype("float64")))
