"""Keras 3 itself on its backends, as `verify` asks it (`frameworks/real.py`)."""

# ruff: noqa: B905 (Python 3.9 has no zip(strict=))
from __future__ import annotations

import importlib
import os
from typing import Any

import numpy as np

from batchnorm.frameworks.keras2.oracle import TfKeras
from batchnorm.frameworks.torch.oracle import Torch

__all__ = ["ORACLES"]


class Keras(TfKeras):
    """Keras 3 on TensorFlow."""

    dialect = "keras"
    packages = ("tensorflow", "keras")

    def __init__(self) -> None:
        os.environ["KERAS_BACKEND"] = self.packages[0]
        self.tf = self.backend = importlib.import_module(self.packages[0])
        self.keras = importlib.import_module("keras")
        self.layers, self.version = self.keras.layers, self.keras.__version__
        if self.version.startswith("2."):
            raise ModuleNotFoundError(f"keras is Keras {self.version}, not 3")
        self.keras.utils.set_random_seed(0)

    def array(self, tensor: Any) -> Any:
        if self.packages[0] == "tensorflow" and len(tensor.shape) == 0:  # Keras fails on bfloat16
            return np.asarray(tensor.numpy())
        return np.asarray(self.keras.ops.convert_to_numpy(tensor))

    def run(self, layer: Any, x: Any, dy: Any, call: Any) -> Any:
        # What is made during the call comes too late: a frozen layer's parameters to be watched,
        # and everything for what the other backends differentiate.
        if dy is not None and not layer.built:
            layer.build(x.shape)
        return self.differentiate(layer, x, dy, call)

    def differentiate(self, layer: Any, x: Any, dy: Any, call: Any) -> Any:
        """Call a layer that is built, if there is a dy."""
        return super().run(layer, x, dy, call)

    def parameters(self, layer: Any) -> dict[str, Any]:
        return {name: variable.value for name, variable in super().parameters(layer).items()}

    def assign(self, variable: Any, array: Any) -> None:
        variable.assign(array)

    def saved_names(self, of: Any) -> list[str]:
        return [variable.path for variable in of.weights]


class KerasOnTorch(Keras):
    """Keras 3 on PyTorch."""

    packages = ("torch", "keras")

    def __init__(self) -> None:
        super().__init__()
        self.torch = Torch()

    def tensor(self, array: Any) -> Any:
        return self.torch.tensor(array)

    def differentiate(self, layer: Any, x: Any, dy: Any, call: Any) -> Any:
        parameters = self.parameters(layer) if layer.built else {}
        for parameter in parameters.values():  # a frozen layer's too
            parameter.requires_grad_(True)
        return self.torch.differentiate(lambda x: layer(x, **call), x, dy, parameters)


class KerasOnJax(Keras):
    """Keras 3 on JAX."""

    packages = ("jax", "keras")

    def tensor(self, array: Any) -> Any:
        return self.backend.numpy.asarray(array)

    def differentiate(self, layer: Any, x: Any, dy: Any, call: Any) -> Any:
        if dy is None:
            return layer(self.tensor(x), **call), None, {}
        own = self.parameters(layer)
        others = [v for name, v in self.variables(layer).items() if name not in own]

        def forward(own: Any, x: Any) -> Any:
            given = [(getattr(layer, name), value) for name, value in own.items()]
            with self.keras.StatelessScope(state_mapping=given) as scope:
                y = layer(x, **call)
            return y, [scope.get_current_value(variable) for variable in others]

        y, pull_back, updated = self.backend.vjp(forward, own, self.tensor(x), has_aux=True)
        for variable, value in zip(others, updated):
            if value is not None:
                variable.assign(value)
        gradients, dx = pull_back(self.tensor(dy).astype(y.dtype))
        dx = None if dx.dtype == self.backend.dtypes.float0 else dx
        return y, dx, {name: gradients[name] for name in own}  # JAX has sorted them


ORACLES = {"keras": Keras, "keras/torch": KerasOnTorch, "keras/jax": KerasOnJax}
