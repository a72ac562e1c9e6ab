"""A real, live layer of a framework as a layer of ours: `read`.

It takes a layer of torch (BatchNorm1d/2d/3d, a materialised Lazy one, SyncBatchNorm), MindSpore
(BatchNorm1d/2d/3d), Keras 2 or Keras 3, and gives the dialect's layer with its settings, mode and
state. No framework is imported: who holds such a layer has imported it, so it is found in
`sys.modules`. What is read is what the layer would do at its next call, not what it was constructed
with: torch and Keras honour an attribute that was changed later, MindSpore 2.10 doesn't.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from batchnorm.dialects import (
    constraints,
    initializers,
    keras,
    mindspore,
    mindspore_2_0,
    regularizers,
    tf_keras,
    tf_keras_2_6,
)
from batchnorm.dialects import torch as torch_dialect
from batchnorm.dialects.keras_layer import KerasLayer
from batchnorm.errors import InvalidType
from batchnorm.layer import Layer
from batchnorm.vocabulary import Array, as_dtype, complement

__all__ = ["read"]

_ACCEPTED = (
    "torch.nn.BatchNorm1d/2d/3d or SyncBatchNorm, mindspore.nn.BatchNorm1d/2d/3d, "
    "tf.keras.layers.BatchNormalization (Keras 2), keras.layers.BatchNormalization (Keras 3), or "
    "a layer of batchnorm itself"
)
_TORCH = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm")
_MINDSPORE = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d")
_FAMILIES = {"initializer": initializers, "regularizer": regularizers, "constraint": constraints}


def read(obj: Any) -> Layer:
    """Read a real framework's layer; a layer of ours is given back as it is.

    Args:
        obj: the layer. It isn't changed, and its arrays are copied.

    State: copied, as are the settings in force and the mode (`training`, Keras' `trainable`).

    Raises:
        TypeError: anything else, or a layer that has no state yet (torch's Lazy ones).

    >>> import batchnorm as bn
    >>> layer = bn.torch.BatchNorm2d(3)
    >>> read(layer) is layer
    True

    Source: torch 2.13.0, mindspore 2.10.0, tf_keras 2.21.0, keras 3.15.1; tests/test_read.py.
    """
    if isinstance(obj, Layer):
        return obj
    torch, mindspore_ = sys.modules.get("torch"), sys.modules.get("mindspore")
    if torch is not None and isinstance(obj, torch.nn.modules.batchnorm._NormBase):
        return _read_torch(obj)
    if mindspore_ is not None and isinstance(obj, mindspore_.nn.Cell):
        return _read_mindspore(obj, mindspore_)
    for module, dialect in _keras_modules():
        if isinstance(obj, module.layers.BatchNormalization):
            return _read_keras(obj, dialect)
    kind = f"{type(obj).__module__}.{type(obj).__qualname__}"
    raise InvalidType(f"read takes {_ACCEPTED}, but got {kind}")


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


def _check_forward(obj: Any, method: str, package: str) -> None:
    """A subclass that computes in its own way is no batch norm that we know."""
    defined = str(getattr(type(obj), method).__module__)
    if defined.partition(".")[0] != package:
        raise InvalidType(
            f"{type(obj).__qualname__} has a {method} of its own (in {defined}), so nothing says "
            f"that it is a batch norm; read takes {_ACCEPTED}"
        )


def _read_torch(obj: Any) -> Layer:
    """Torch's buffers decide, so they are taken as they are, missing ones included."""
    name = next((n for n in _TORCH for c in type(obj).__mro__ if c.__name__ == n), None)
    if name is None or type(obj).__name__.startswith("Lazy"):
        raise InvalidType(
            f"a torch {type(obj).__name__} can't be read: expected {', '.join(_TORCH)}; a Lazy "
            "layer is one of them after its first call"
        )
    _check_forward(obj, "forward", "torch")
    values = {key: getattr(obj, key, None) for key in torch_dialect.BatchNorm2d.STATE}
    arrays = {key: None if v is None else _torch_array(v) for key, v in values.items()}
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
    layer.training = obj.training  # type: ignore[attr-defined]
    return layer


def _torch_array(tensor: Any) -> Array:
    tensor = tensor.detach().cpu()
    if str(tensor.dtype) == "torch.bfloat16":
        return np.array(tensor.float().numpy().astype(as_dtype("bfloat16")))
    return np.array(tensor.numpy())


def _read_mindspore(obj: Any, module: Any) -> Layer:
    """The operators hold what counts: a later `eps` or `momentum` of the cell changes nothing."""
    name = next((n for n in _MINDSPORE if isinstance(obj, getattr(module.nn, n))), None)
    if name is None:
        raise InvalidType(
            f"a mindspore {type(obj).__name__} can't be read: expected {', '.join(_MINDSPORE)}"
        )
    _check_forward(obj, "construct", "mindspore")
    dialect = mindspore_2_0 if str(module.__version__).startswith("2.0") else mindspore
    inner = getattr(obj, "bn2d", obj)  # BatchNorm3d wraps a 2d layer
    arrays = {key: np.array(getattr(inner, key).asnumpy()) for key in mindspore.BatchNorm2d.STATE}
    arguments: dict[str, Any] = {
        "num_features": inner.num_features,
        "eps": float(inner.bn_infer.epsilon),
        "momentum": _weight_of_running(float(inner.bn_train.momentum)),
        "affine": bool(inner.gamma.requires_grad),
        "use_batch_statistics": inner.use_batch_statistics,
        "dtype": arrays["gamma"].dtype.name,
    }
    if name != "BatchNorm3d":
        arguments["data_format"] = inner.format
    layer: Layer = getattr(dialect, name)(**arguments)
    layer.load_state(arrays)
    layer.set_train(bool(inner.training))  # type: ignore[attr-defined]
    return layer


def _weight_of_running(factor: float) -> float:
    """The shortest momentum that MindSpore makes this factor of: 0.1 for 0.09999999999999998."""
    exact = complement(factor)
    rounded = (float(f"{exact:.{digits}g}") for digits in range(1, 18))
    return next((w for w in rounded if complement(w) == factor), exact)


def _read_keras(obj: Any, dialect: type[KerasLayer]) -> Layer:
    """Keras' attributes are what it computes with."""
    _check_forward(obj, "call", type(obj).__mro__[-2].__module__.partition(".")[0])
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
            layer.fused = bool(obj.fused)  # type: ignore[attr-defined]
        values = {name: getattr(obj, name) for name in layer.state}
        layer.load_state({name: _keras_array(value) for name, value in values.items()})
    return layer


def _policy_name(obj: Any) -> str:
    policy = getattr(obj, "dtype_policy", None)
    return str(getattr(policy, "name", None) or obj.dtype)


def _keras_array(variable: Any) -> Array:
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
