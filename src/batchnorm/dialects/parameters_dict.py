"""MindSpore's parameter names and `load_param_into_net` on NumPy arrays.

Source: MindSpore 2.10.0, mindspore/train/serialization.py. The trap that this file is about: a bare
layer's statistics are called `mean` and `variance`, those of a layer inside a net
`bn1.moving_mean` and `bn1.moving_variance`, and names that don't match are skipped in silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from batchnorm.errors import InvalidRuntime, InvalidType
from batchnorm.layer import Layer

__all__ = ["load_param_into_net", "names"]


def names(layer: Any, name: str = "") -> dict[str, str]:
    """Attribute name -> name in a checkpoint, of a bare layer or of one called `name` in a net."""
    prefix = f"{name}.{layer.INNER}" if name else layer.INNER
    if prefix:
        return {own: prefix + own for own in layer.STATE}
    return {own: entry.bare_name or own for own, entry in layer.STATE.items()}


def load_param_into_net(
    net: Layer | Mapping[str, Layer], parameter_dict: Mapping[str, Any], strict_load: bool = False
) -> tuple[list[str], list[str]]:
    """Copy values into a bare layer, or into the layers of a net given as {attribute: layer}.

    Returns the names of the net that got no value and the names given that have no place, and
    raises nothing for either, as MindSpore does: look at both.

    Raises:
        TypeError: `parameter_dict` is no mapping of names to arrays.
        RuntimeError: a shape differs; nothing is changed then.
    """
    if not isinstance(parameter_dict, Mapping):
        raise InvalidType(f"'parameter_dict' must be a dict, but got {type(parameter_dict)}.")
    layers = {"": net} if isinstance(net, Layer) else net
    targets = {
        spelled: getattr(layer, own)
        for name, layer in layers.items()
        for own, spelled in names(layer, name).items()
    }
    values = {}
    for name, value in parameter_dict.items():
        if not isinstance(name, str) or not hasattr(value, "shape"):
            raise InvalidType(f"'parameter_dict' must map str to arrays, got {name!r}: {value!r}")
        if name in targets:
            values[name] = np.array(value)  # a copy, as it may be an array of the net itself
            if values[name].shape != targets[name].shape:
                raise InvalidRuntime(
                    f"{name} has shape {targets[name].shape} in 'net' and {values[name].shape} "
                    "in 'parameter_dict'; they must be the same."
                )
    for name, value in values.items():
        with np.errstate(all="ignore"):
            targets[name][...] = value
    return (
        [name for name in targets if name not in values],
        [name for name in parameter_dict if name not in targets],
    )
