"""A real framework in a process of its own, as `verify/worker.py` asks it: `Real`, and `Layers`.

The rooms' `oracle.py` have one each. These files run where the framework is, without the rest of
this package: Python 3.9 or newer and NumPy are all they need beside it. They hold no opinion about
batch normalization: they build the framework's own layers, call them, and read what they did.
"""

from __future__ import annotations

import importlib
import re
from typing import Any

import numpy as np

__all__ = ["Layers", "Real"]


class Real:
    """What real frameworks have in common.

    Each further has `dtype(name)` and `tensor(array)`, which give the framework's own objects,
    `array(tensor)`, `assign(variable, array)`, `trainable(layer)` (variables), `saved_names(of)`
    a layer or net, `nested(make, layer)` (a net whose `bn1` is made as the layer was), and
    `run(layer, x, dy, call)`: one call of the layer, giving y and the gradients of sum(y * dy).
    """

    packages: tuple[str, ...]
    variable_names: tuple[str, ...]

    def variables(self, layer: Any) -> dict[str, Any]:
        """Give the variables that exist, parameters and statistics, by attribute, in order."""
        found = {name: getattr(layer, name, None) for name in self.variable_names}
        return {name: variable for name, variable in found.items() if variable is not None}

    def plain(self, value: Any) -> Any:
        """Turn a value that the framework gave into one that can travel, else into its repr."""
        if value is None or isinstance(value, (bool, int, float, str, np.generic, np.ndarray)):
            return value
        if isinstance(value, dict):
            return {str(key): self.plain(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            items = [self.plain(item) for item in value]
            return tuple(items) if isinstance(value, tuple) else items
        if hasattr(value, "shape") and hasattr(value, "dtype"):
            return self.array(value)  # type: ignore[attr-defined]
        return self.show(value)

    @staticmethod
    def show(value: Any) -> str:
        """Give a value's repr without the address that a default repr ends with: no answer."""
        return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


class Layers(Real):
    """Layers that take and give NumPy's arrays and differentiate themselves, of any package.

    Args:
        name: of the dialect.
        package: what is imported, and has the version.
        layers: the module with the classes.
        version: where the package has none.
        mode_method: of its layers; empty where each call says the mode.
        variable_names: attributes of a layer that are its state.
    """

    call_method = "__call__"

    def __init__(
        self,
        name: str,
        package: str,
        layers: str,
        version: str,
        mode_method: str,
        variable_names: list[str],
    ) -> None:
        self.dialect, self.packages, self.mode_method = name, (package,), mode_method
        self.version = getattr(importlib.import_module(package), "__version__", version)
        self.layers = importlib.import_module(layers)
        self.variable_names = tuple(variable_names)

    def dtype(self, name: str) -> Any:
        """NumPy's own."""
        return np.dtype(name)

    def tensor(self, array: Any) -> Any:
        """The array itself."""
        return array

    def array(self, tensor: Any) -> Any:
        """The array itself."""
        return np.asarray(tensor)

    def run(self, layer: Any, x: Any, dy: Any, call: Any) -> Any:
        """One call, and the layer's own `backward`, which leaves `gradients`."""
        y = layer(x, **call)
        if dy is None:
            return y, None, {}
        return y, layer.backward(dy.astype(y.dtype, copy=False)), dict(layer.gradients)

    def assign(self, variable: Any, array: Any) -> None:
        """In place."""
        variable[...] = array
