"""Live layers of Keras 2 and Keras 3 as layers of ours.

Not here: finding out whose object something is (`read.py`). No framework is imported. Keras'
attributes are what it computes with, also when they are changed later.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from batchnorm.errors import InvalidType
from batchnorm.frameworks.keras import constraints, initializers, regularizers
from batchnorm.frameworks.keras.layer import KerasLayer
from batchnorm.frameworks.keras2 import layers as tf_keras
from batchnorm.frameworks.keras2 import v2_6 as tf_keras_2_6
from batchnorm.frameworks.keras3 import layers as keras
from batchnorm.layer import Layer
from batchnorm.readers.host import is_host
from batchnorm.vocabulary import Array

__all__ = ["ACCEPTED", "is_batch_norm", "is_layer", "layers_of", "read", "to_array"]

ACCEPTED = "tf.keras.layers.BatchNormalization (Keras 2), keras.layers.BatchNormalization (Keras 3)"
_FAMILIES = {"initializer": initializers, "regularizer": regularizers, "constraint": constraints}


def is_layer(obj: Any) -> bool:
    """Whether it is a layer or a model of one of the loaded Kerases."""
    return any(isinstance(obj, module.layers.Layer) for module, _ in _keras_modules())


def _dialect(obj: Any) -> type[KerasLayer] | None:
    for module, dialect in _keras_modules():
        if isinstance(obj, module.layers.BatchNormalization):
            return dialect
    return None


def is_batch_norm(obj: Any) -> bool:
    """Whether a layer is a batch norm by its class."""
    return _dialect(obj) is not None


def layers_of(model: Any) -> dict[str, Any]:
    """The batch norms inside a model, by their names, those of inner models before a slash."""
    return {
        path: layer
        for path, layer in _walk(model, "", set())
        if is_batch_norm(layer) or is_host(layer)
    }


def _walk(layer: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """A layer and those inside it, each once, also where one wraps another (TimeDistributed)."""
    if id(layer) in seen:
        return
    seen.add(id(layer))
    yield path, layer
    inside = getattr(layer, "_flatten_layers", None)
    if inside is None:
        return
    for inner in inside(recursive=False, include_self=False):
        yield from _walk(inner, f"{path}/{inner.name}" if path else inner.name, seen)


def _keras_modules() -> list[tuple[Any, type[KerasLayer]]]:
    """The Kerases that are loaded; the one inside TensorFlow may be either."""
    found: list[tuple[Any, type[KerasLayer]]] = []
    for name in ("tf_keras", "keras", "tensorflow.keras"):
        module = sys.modules.get(name)
        if module is None and name == "tensorflow.keras" and "tensorflow" in sys.modules:
            # Reading the attribute would import a Keras that nobody has loaded.
            module = vars(sys.modules["tensorflow"]).get("keras")
        if hasattr(module, "layers"):
            found.append((module, _keras_dialect(str(getattr(module, "__version__", "3")))))
    return found


def _keras_dialect(version: str) -> type[KerasLayer]:
    if version.startswith("2.6"):
        return tf_keras_2_6.BatchNormalization
    return tf_keras.BatchNormalization if version.startswith("2.") else keras.BatchNormalization


def read(obj: Any) -> Layer:
    """One layer."""
    dialect = _dialect(obj)
    if dialect is None:
        kind = f"{type(obj).__module__}.{type(obj).__qualname__}"
        raise InvalidType(f"a Keras {kind} can't be read: expected {ACCEPTED}")
    defined = str(type(obj).call.__module__)
    if defined.partition(".")[0] != type(obj).__mro__[-2].__module__.partition(".")[0]:
        raise InvalidType(
            f"{type(obj).__qualname__} has a call of its own (in {defined}), so nothing says "
            f"that it is a batch norm; read takes {ACCEPTED}"
        )
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
        layer.build(tuple(shape))  # type: ignore[attr-defined]
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
