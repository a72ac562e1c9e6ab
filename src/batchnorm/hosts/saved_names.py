"""The name of a layer of ours in a saved model, and a layer by such a name.

Not here: its settings, which the layer gives as plain values, and its state, saved as weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchnorm.errors import InvalidValue
from batchnorm.frameworks import dialect_of, known
from batchnorm.layer import Layer

__all__ = ["from_name", "name"]


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


def from_name(name: str, arguments: Mapping[str, Any]) -> Layer:
    """A new layer.

    Raises:
        ValueError: no layer of a dialect has this name.
    """
    own = _class(name).from_plain(arguments)
    assert isinstance(own, Layer)
    return own
