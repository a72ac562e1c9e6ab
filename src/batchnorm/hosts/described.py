"""A layer of ours as a saved model can describe it, by names and plain values, and back.

Not here: its state, which is saved as weights.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from batchnorm.errors import InvalidValue
from batchnorm.frameworks import dialect_of, known
from batchnorm.frameworks.keras.layer import KerasLayer
from batchnorm.layer import Layer

__all__ = ["arguments", "from_name", "name", "with_policy"]


def name(layer: Layer) -> str:
    """The dialect's module and class, such as "torch.BatchNorm2d".

    Raises:
        ValueError: a class of the user's own.
    """
    module = dialect_of(type(layer))
    found = f"{module}.{type(layer).__name__}"
    if module is None or _class(found) is not type(layer):
        raise InvalidValue(
            f"{type(layer).__qualname__} is a class of its own, which a saved model couldn't name; "
            f"expected one of batchnorm.{{{','.join(record.module for record in known())}}}"
        )
    return found


def _class(name: str) -> Any:
    module, _, attribute = name.partition(".")
    found = None
    for record in known():
        if record.module == module:
            found = getattr(record.room("layers"), attribute, None)
    if not isinstance(found, type) or not issubclass(found, Layer):
        raise InvalidValue(f"{name!r} is no layer of a dialect, such as 'torch.BatchNorm2d'")
    return found


def arguments(layer: Layer) -> dict[str, Any]:
    """The settings as JSON can hold them; the state is saved as weights."""
    if isinstance(layer, KerasLayer):
        config = layer.get_config()
        return {key: value for key, value in config.items() if key not in ("name", "trainable")}
    plain = (str, bool, int, float, type(None))
    found = layer.arguments()
    return {k: v for k, v in found.items() if not k.endswith("_init") and isinstance(v, plain)}


def from_name(name: str, arguments: Mapping[str, Any]) -> Layer:
    """A new layer.

    Raises:
        ValueError: no layer of a dialect has this name.
    """
    found = _class(name)
    own = found.from_config(arguments) if issubclass(found, KerasLayer) else found(**arguments)
    assert isinstance(own, Layer)
    return own


def with_policy(layer: Layer, policy: str) -> Layer:
    """A copy, if it is Keras' with this dtype policy."""
    copied: Any = copy.deepcopy(layer)
    if isinstance(layer, KerasLayer) and layer.dtype_policy.name != policy:
        rank, lengths = getattr(copied, "_input_spec", (0, {}))
        copied = type(layer).from_config({**layer.get_config(), "dtype": policy})
        if (adjustment := getattr(layer, "adjustment", None)) is not None:
            copied.adjustment = adjustment
        if layer.built:
            own = {axis % rank: length for axis, length in lengths.items()}
            copied.build([own.get(axis, 1) for axis in range(rank)])
            copied.load_state(layer.state)
    assert isinstance(copied, Layer)
    return copied
