"""PyTorch itself, as `verify` asks it (`frameworks/real.py`)."""

# ruff: noqa: B905 (Python 3.9 has no zip(strict=))
from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from batchnorm.frameworks.real import Real

__all__ = ["ORACLES", "Torch"]


class Torch(Real):
    """PyTorch."""

    dialect, packages = "torch", ("torch",)
    call_method, mode_method = "forward", "train"
    variable_names = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")

    def __init__(self) -> None:
        self.torch: Any = importlib.import_module("torch")
        self.torch.manual_seed(0)
        self.layers, self.version = self.torch.nn, self.torch.__version__.split("+")[0]

    def dtype(self, name: str) -> Any:
        """The framework's own."""
        return getattr(self.torch, name)

    def tensor(self, array: Any) -> Any:
        """The framework's own, of an array."""
        if array.dtype.name == "bfloat16":  # from_numpy doesn't know it
            return self.torch.from_numpy(array.view(np.int16)).view(self.torch.bfloat16)
        return self.torch.from_numpy(array)

    def array(self, tensor: Any) -> Any:
        """What a tensor holds."""
        tensor = tensor.detach()
        if tensor.dtype == self.torch.bfloat16:
            return tensor.view(self.torch.int16).numpy().view("bfloat16")
        return tensor.numpy()

    def run(self, layer: Any, x: Any, dy: Any, call: Any) -> Any:
        """One call, and the gradients of sum(y * dy)."""
        own = {n: p for n, p in layer.named_parameters(recurse=False) if p.requires_grad}
        return self.differentiate(lambda x: layer(x, **call), x, dy, own)

    def differentiate(self, forward: Any, x: Any, dy: Any, parameters: Any) -> Any:
        """Give y of one call and, where there is a dy, dx and the parameters' gradients."""
        x = self.tensor(x)
        if dy is None:
            return forward(x), None, {}
        x.requires_grad_(x.is_floating_point() or x.is_complex())
        y, wanted = forward(x), {**parameters, **({"x": x} if x.requires_grad else {})}
        if not wanted:
            return y, None, {}
        dy = self.tensor(dy).to(y.dtype)
        found = self.torch.autograd.grad(y, list(wanted.values()), dy, allow_unused=True)
        gradients = dict(zip(wanted, found))
        return y, gradients.pop("x", None), gradients

    def assign(self, variable: Any, array: Any) -> None:
        """Overwrite a variable."""
        with self.torch.no_grad():
            variable.copy_(self.tensor(array))

    def trainable(self, layer: Any) -> Any:
        """The variables that the framework trains."""
        return [parameter for parameter in layer.parameters() if parameter.requires_grad]

    def saved_names(self, of: Any) -> list[str]:
        """How the framework saves them."""
        return list(of.state_dict())

    def nested(self, make: Any, layer: Any) -> Any:
        """A net whose `bn1` is such a layer."""
        net = self.layers.Module()
        net.bn1 = make()
        return net


ORACLES = {"torch": Torch}
