"""MindSpore itself, as `verify` asks it (`frameworks/real.py`)."""

# ruff: noqa: B905 (Python 3.9 has no zip(strict=))
from __future__ import annotations

import contextlib
import importlib
from typing import Any

import numpy as np

from batchnorm.frameworks.real import Real

__all__ = ["ORACLES"]


class MindSpore(Real):
    """MindSpore in PyNative mode."""

    dialect, packages = "mindspore", ("mindspore",)
    call_method, mode_method = "construct", "set_train"
    variable_names = ("moving_mean", "moving_variance", "gamma", "beta")

    def __init__(self) -> None:
        self.mindspore: Any = importlib.import_module("mindspore")
        self.mindspore.set_context(mode=self.mindspore.PYNATIVE_MODE, device_target="CPU")
        self.mindspore.set_seed(0)
        self.layers, self.version = self.mindspore.nn, self.mindspore.__version__
        # Under NumPy 2.4 the first eager operation of a process can raise SystemError, once.
        with contextlib.suppress(SystemError):
            self.tensor(np.ones(1, np.float32)) + 1

    def dtype(self, name: str) -> Any:
        return getattr(self.mindspore, "bool_" if name == "bool" else name)

    def tensor(self, array: Any) -> Any:
        if array.dtype.name == "bfloat16":  # Tensor doesn't know it
            return self.mindspore.Tensor(array.astype(np.float32), self.mindspore.bfloat16)
        return self.mindspore.Tensor(np.ascontiguousarray(array).reshape(array.shape))

    def array(self, tensor: Any) -> Any:
        if str(tensor.dtype) == "BFloat16":
            return tensor.astype(self.mindspore.float32).asnumpy().astype("bfloat16")
        return tensor.asnumpy()

    def run(self, layer: Any, x: Any, dy: Any, call: Any) -> Any:
        x = self.tensor(x)
        if dy is None:
            return layer(x, **call), None, {}
        dy = self.tensor(dy)

        def forward(x: Any) -> Any:
            y = layer(x, **call)
            return (y * dy.astype(y.dtype)).sum(), y

        # Trainable parameters only: the gradient of another is uninitialised memory.
        wanted = {name: v for name, v in self.variables(layer).items() if v.requires_grad}
        weights = list(wanted.values()) or None
        both = self.mindspore.value_and_grad(forward, 0, weights, has_aux=True)
        (_, y), found = both(x)
        dx, gradients = found if weights else (found, ())
        return y, dx, dict(zip(wanted, gradients))

    def variables(self, layer: Any) -> dict[str, Any]:
        return super().variables(getattr(layer, "bn2d", layer))  # BatchNorm3d wraps a 2d layer

    def assign(self, variable: Any, array: Any) -> None:
        variable.set_data(self.tensor(array).astype(variable.dtype))

    def trainable(self, layer: Any) -> Any:
        return layer.trainable_params()

    def saved_names(self, of: Any) -> list[str]:
        return [parameter.name for parameter in of.get_parameters()]

    def nested(self, make: Any, layer: Any) -> Any:
        net = self.layers.Cell()
        net.bn1 = make()
        return net


ORACLES = {"mindspore": MindSpore}
