"""Live layers and models of both Kerases: read as layers of ours, listed, watched, written to.

Each Keras's own room says which loaded package it is, and which of our layers stand for its.

Not here: finding out whose object something is (`read.py`). No framework is imported. Keras'
attributes are what it computes with, also when they are changed later.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from batchnorm.checkpoints.keras_h5 import legacy_name
from batchnorm.checkpoints.keras_steps import config_steps
from batchnorm.checkpoints.steps import Step
from batchnorm.errors import InvalidType
from batchnorm.frameworks.hosted import is_host
from batchnorm.frameworks.keras import constraints, initializers, regularizers
from batchnorm.frameworks.keras.layer import KerasLayer
from batchnorm.layer import Layer
from batchnorm.vocabulary import Array

__all__ = [
    "array_of",
    "bases",
    "is_batch_norm",
    "layers_of",
    "layers_with_weights",
    "loaded",
    "read",
    "recalibrates",
    "run",
    "settings_of",
    "state_of",
    "to_array",
    "version_of",
    "walk",
    "watched",
    "weight_names",
    "write",
]

Tell = Callable[[str, Array, Any], None]
_FAMILIES = {"initializer": initializers, "regularizer": regularizers, "constraint": constraints}


def loaded(major: str) -> list[tuple[Any, str]]:
    """The loaded Kerases of a major version, and the version; TensorFlow's own may be either."""
    found: dict[int, tuple[Any, str]] = {}
    for name in ("tf_keras", "keras", "tensorflow.keras"):
        module = sys.modules.get(name)
        if module is None and name == "tensorflow.keras" and "tensorflow" in sys.modules:
            # Reading the attribute would import a Keras that nobody has loaded.
            module = vars(sys.modules["tensorflow"]).get("keras")
        version = str(getattr(module, "__version__", "3"))
        if hasattr(module, "layers") and version.partition(".")[0] == major:
            found[id(module)] = (module, version)
    return list(found.values())


def bases(major: str) -> tuple[type, ...]:
    """What the layers and models of the loaded ones are instances of."""
    return tuple(module.layers.Layer for module, _ in loaded(major))


def version_of(obj: Any, major: str) -> str | None:
    """The version of the Keras whose batch norm a layer is; None for none."""
    for module, version in loaded(major):
        if isinstance(obj, module.layers.BatchNormalization):
            return version
    return None


def is_batch_norm(major: str, obj: Any) -> bool:
    """Whether a layer is a batch norm by its class."""
    return version_of(obj, major) is not None


def layers_of(major: str, model: Any) -> dict[str, Any]:
    """The batch norms inside a model, by their names, those of inner models before a slash."""
    return {
        path: layer
        for path, layer in walk(model, "", set())
        if is_batch_norm(major, layer) or is_host(layer)
    }


def walk(layer: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """A layer and those inside it by name, each once, also where one wraps another."""
    if id(layer) in seen:
        return
    seen.add(id(layer))
    yield path, layer
    inside = getattr(layer, "_flatten_layers", None)
    if inside is None:
        return
    for inner in inside(recursive=False, include_self=False):
        yield from walk(inner, f"{path}/{inner.name}" if path else inner.name, seen)


def read(
    major: str, dialect_of: Callable[[str], type[KerasLayer]], accepted: str, obj: Any
) -> Layer:
    """One layer as ours of the class that a version of that Keras has."""
    version = version_of(obj, major)
    if version is None:
        kind = f"{type(obj).__module__}.{type(obj).__qualname__}"
        raise InvalidType(f"a Keras {kind} can't be read: expected {accepted}")
    defined = str(type(obj).call.__module__)
    if defined.partition(".")[0] != type(obj).__mro__[-2].__module__.partition(".")[0]:
        raise InvalidType(
            f"{type(obj).__qualname__} has a call of its own (in {defined}), so nothing says "
            f"that it is a batch norm; read takes {accepted}"
        )
    dialect = dialect_of(version)
    own = dialect.PARAMETERS
    arguments: dict[str, Any] = {}
    for name in own:
        if name in dialect.OBJECTS:
            arguments[name] = _keras_object(getattr(obj, name), name, dialect)
        elif name not in ("dtype", "name", "weights", "fused") and hasattr(obj, name):
            arguments[name] = getattr(obj, name)
    arguments = {
        name: value
        for name, value in arguments.items()
        if own[name].meaning.word not in ("housekeeping", "input_shape", "initial_weights")
    }
    axis = arguments["axis"]
    if not isinstance(axis, int):
        axis = list(axis)
        if getattr(obj, "virtual_batch_size", None) is not None and obj.built:
            axis = [place - 1 for place in axis]  # building has made room for the ghost batches
        arguments["axis"] = axis[0] if len(axis) == 1 else axis
    if isinstance(arguments.get("renorm_clipping"), Mapping):
        arguments["renorm_clipping"] = dict(arguments["renorm_clipping"])
    arguments["name"], arguments["dtype"] = obj.name, _policy_name(obj)
    if not obj.built and getattr(obj, "fused", None) is not None:
        arguments["fused"] = bool(obj.fused)
    layer = dialect(**arguments)
    if obj.built:
        spec = obj.input_spec
        lengths = {place % spec.ndim: length for place, length in spec.axes.items()}
        shape = [lengths.get(place, 1) for place in range(spec.ndim)]
        layer.build(tuple(shape))
        if hasattr(obj, "fused"):
            layer.fused = bool(obj.fused)
        values = {name: getattr(obj, name) for name in layer.state}
        layer.load_state({name: to_array(value) for name, value in values.items()})
    return layer


def _policy_name(obj: Any) -> str:
    policy = getattr(obj, "dtype_policy", None)
    return str(getattr(policy, "name", None) or obj.dtype)


def to_array(variable: Any) -> Array:
    """A copy of a variable's or a tensor's values."""
    value = variable.numpy() if hasattr(variable, "numpy") else np.asarray(variable)
    return np.array(value)


def _keras_object(obj: Any, name: str, dialect: type[KerasLayer]) -> Any:
    """An initializer, regularizer or constraint by its configuration; one of the user's stays."""
    if obj is None or not hasattr(obj, "get_config"):
        return obj
    described = {"class_name": type(obj).__name__, "config": obj.get_config()}
    family = _FAMILIES[name.rpartition("_")[2]]
    try:
        return family.get(described, dialect.FRAMEWORK)
    except (ValueError, TypeError):
        return obj


def array_of(tensor: Any) -> Any:
    """A tensor's values; None for what is no tensor, or NumPy takes by itself, as it does here."""
    return None


def settings_of(layer: Any) -> dict[str, float | None]:
    """Epsilon and momentum of a layer, or of one of ours, by their meaning."""
    return {"epsilon": layer.epsilon, "weight_of_running": layer.momentum}


def state_of(model: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """A model's arrays as its files name them, and what files say beside; None for no model."""
    if not hasattr(model, "layers"):
        return None
    arrays: dict[str, Any] = {}
    layers: dict[str, Any] = {}
    for prefix, layer in layers_with_weights(model, ""):
        names = weight_names(layer)
        pairs = zip(names, layer.get_weights(), strict=True)
        arrays |= {f"{prefix}/{name}": value for name, value in pairs}
        config = {k: v for k, v in layer.get_config().items() if isinstance(v, bool | int | float)}
        layers[prefix] = {"class_name": type(layer).__name__, "config": config, "weights": names}
    return arrays, {"layers": layers, "steps": _steps(model)}


def _steps(model: Any) -> tuple[Step, ...]:
    """The model's calls from its config; a subclassed model has none that says them."""
    try:
        return config_steps(None, json.loads(model.to_json()))
    except (AttributeError, NotImplementedError, TypeError, ValueError):
        return ()


def weight_names(layer: Any) -> list[str]:
    """What a layer's files call its variables: with the inner layer's name where it has several."""
    names = [w.name.rpartition("/")[2].partition(":")[0] for w in layer.weights]
    if len(set(names)) < len(names):
        paths = [legacy_name(layer.name, getattr(w, "path", w.name)) for w in layer.weights]
        names = [path.removeprefix(f"{layer.name}/") for path in paths]
    if len(set(names)) < len(names):
        names = [str(index) for index in range(len(names))]
    return names


def layers_with_weights(model: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Layers that hold variables, by the names under which files keep these."""
    for layer in model.layers:
        name = f"{prefix}{layer.name}"
        if hasattr(layer, "layers"):
            yield from layers_with_weights(layer, f"{name}/")
        elif layer.weights:
            yield name, layer


def recalibrates(layer: Any) -> bool:
    """Whether it has running statistics that training would move: a frozen layer hasn't."""
    return bool(layer.trainable)


def run(model: Any, batch: Any) -> None:
    """The model on a batch, in inference; of a tuple, as data sets make them, on the first."""
    model(batch[0] if isinstance(batch, tuple) else batch, training=False)


@contextmanager
def watched(layers: Mapping[str, Any], tell: Tell) -> Iterator[None]:
    """A context in which each batch norm normalizes by its batch and tells its input.

    Afterwards all is as before; batch norms are called with training=True, all else is as `run`
    has it.
    """
    before = [
        (layer, [to_array(weight) for weight in layer.get_weights()]) for layer in layers.values()
    ]

    def call(path: str, own: Any, inputs: Any, *given: Any, **named: Any) -> Any:
        mask = named.get("mask", given[1] if len(given) > 1 else None)
        tell(path, to_array(inputs), None if mask is None else to_array(mask))
        rest = {name: value for name, value in named.items() if name != "training"}
        return own(inputs, True, *given[1:], **rest)

    try:
        for path, layer in layers.items():
            layer.call = partial(call, path, layer.call)
        yield
    finally:
        for layer, values in before:
            vars(layer).pop("call", None)
            layer.set_weights(values)


def write(layer: Any, values: Mapping[str, Array]) -> None:
    """Into the variables, in their own types."""
    for name, value in values.items():
        own = getattr(layer, name)
        own.assign(value.astype(to_array(own).dtype))
