"""A live model's state as a checkpoint in memory: torch modules, MindSpore cells, Keras models.

No framework is imported: a model is told by the module of its classes, and asked for what its own
saving code asks for. A layer's settings and class come along, which most files don't hold.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from batchnorm.checkpoints import Checkpoint, Entry
from batchnorm.checkpoints.keras_h5 import legacy_name
from batchnorm.convert.settings import Settings
from batchnorm.errors import CheckpointError, InvalidType
from batchnorm.layer import Layer
from batchnorm.vocabulary import as_dtype

__all__ = ["checkpoint_of", "checkpoint_of_mapping"]

ROOTS = {"torch": "torch", "mindspore": "mindspore", "keras": "keras", "tf_keras": "tf_keras"}
PLAIN = (bool, int, float)  # a trainer's epoch; below a layer's name, an array of its


def checkpoint_of(model: Any) -> Checkpoint:
    """The state of a live model, or of one of this package's own layers.

    Raises:
        TypeError: it is no model of a framework that is known here.
    """
    if isinstance(model, Layer):
        return _ours(model)
    classes = type(model).__mro__
    found = [ROOTS[c.__module__.partition(".")[0]] for c in classes if _root(c) in ROOTS]
    if "torch" in found and hasattr(model, "state_dict"):
        return _torch(model)
    if "mindspore" in found and hasattr(model, "parameters_and_names"):
        return _mindspore(model)
    for framework in ("tf_keras", "keras"):
        if framework in found and hasattr(model, "layers"):
            return _keras(model, framework)
    raise InvalidType(
        f"expected a path, a mapping of names to arrays, a Checkpoint, or a torch, MindSpore or "
        f"Keras model, but got {type(model).__module__}.{type(model).__qualname__}"
    )


def checkpoint_of_mapping(given: Mapping[Any, Any]) -> Checkpoint:
    """What a dictionary holds: arrays, tensors or entries by name; plain values; dictionaries.

    Raises:
        CheckpointError: a name is no text, or a value none of these.
    """
    found = Checkpoint({}, "memory", groups=())
    _collect(found, given, "")
    found.groups = found.groups or ("",)
    return found


def _collect(found: Checkpoint, given: Mapping[Any, Any], front: str) -> None:
    for key, value in given.items():
        if not isinstance(key, str):
            raise CheckpointError(f"{front or 'the mapping'}: {key!r} is no name; expected a text")
        name = front + key
        if isinstance(value, Mapping):
            _collect(found, value, f"{name}/")
        elif isinstance(value, str | None) or (isinstance(value, PLAIN) and "." not in key):
            found.extras[name] = value
        else:
            plain = _values(value) if hasattr(value, "detach") else value
            is_entry = isinstance(plain, Entry)
            found.entries[name] = plain.renamed(name) if is_entry else Entry.of(name, plain)
            if front.rstrip("/") not in found.groups:
                found.groups = (*found.groups, front.rstrip("/"))


def _root(cls: type[Any]) -> str:
    return cls.__module__.partition(".")[0]


def _checkpoint(entries: list[Entry], framework: str, metadata: dict[str, Any]) -> Checkpoint:
    return Checkpoint({e.name: e for e in entries}, "memory", framework, metadata)


def _ours(layer: Layer) -> Checkpoint:
    names = {name: entry.bare_name or name for name, entry in layer.STATE.items()}
    framework = layer.FRAMEWORK
    front = "layer/" if framework in ("keras", "tf_keras") else ""
    entries = [Entry.of(front + names[name], value) for name, value in layer.state.items()]
    settings = {front.rstrip("/"): Settings.of_layer(layer).as_json()}
    return _checkpoint(entries, framework, {"batchnorm": {"settings": settings}})


def _torch(model: Any) -> Checkpoint:
    entries = [Entry.of(name, _values(value)) for name, value in model.state_dict().items()]
    settings = {
        path: Settings(module.eps, module.momentum, "weight_of_batch").as_json()
        for path, module in model.named_modules()
        if hasattr(module, "running_var") and hasattr(module, "eps") and hasattr(module, "momentum")
    }
    return _checkpoint(entries, "torch", {"batchnorm": {"settings": settings}})


def _values(tensor: Any) -> Any:
    """A tensor as an array; NumPy has no bfloat16 of its own, so its bits are taken."""
    plain = tensor.detach().cpu()
    if str(plain.dtype) == "torch.bfloat16":
        bits = plain.view(sys.modules["torch"].int16)
        return bits.numpy().view(as_dtype("bfloat16"))
    return plain.numpy()


def _mindspore(model: Any) -> Checkpoint:
    entries = [Entry.of(p.name, p.asnumpy()) for _, p in model.parameters_and_names()]
    settings = {}
    for path, cell in model.cells_and_names():
        if hasattr(cell, "moving_variance") and hasattr(cell, "eps") and hasattr(cell, "momentum"):
            short = path.removesuffix("bn2d").removesuffix(".")
            settings[short] = Settings.of_cell(cell.eps, cell.momentum).as_json()
    return _checkpoint(entries, "mindspore", {"batchnorm": {"settings": settings}})


def _keras(model: Any, framework: str) -> Checkpoint:
    entries: list[Entry] = []
    layers: dict[str, Any] = {}
    for prefix, layer in _keras_layers(model, ""):
        names = _weight_names(layer)
        pairs = zip(names, layer.get_weights(), strict=True)
        entries += [Entry.of(f"{prefix}/{name}", value) for name, value in pairs]
        config = {k: v for k, v in layer.get_config().items() if isinstance(v, bool | int | float)}
        layers[prefix] = {"class_name": type(layer).__name__, "config": config, "weights": names}
    return _checkpoint(entries, framework, {"layers": layers})


def _weight_names(layer: Any) -> list[str]:
    """What a layer's files call its variables: with the inner layer's name where it has several."""
    names = [w.name.rpartition("/")[2].partition(":")[0] for w in layer.weights]
    if len(set(names)) < len(names):
        paths = [legacy_name(layer.name, getattr(w, "path", w.name)) for w in layer.weights]
        names = [path.removeprefix(f"{layer.name}/") for path in paths]
    if len(set(names)) < len(names):
        names = [str(index) for index in range(len(names))]
    return names


def _keras_layers(model: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for layer in model.layers:
        name = f"{prefix}{layer.name}"
        if hasattr(layer, "layers"):
            yield from _keras_layers(layer, f"{name}/")
        elif layer.weights:
            yield name, layer
