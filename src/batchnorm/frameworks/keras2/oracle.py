"""Keras 2 itself, as `verify` asks it (`frameworks/real.py`)."""

# ruff: noqa: B905 (Python 3.9 has no zip(strict=))
from __future__ import annotations

import importlib
from typing import Any

from batchnorm.frameworks.real import Real

__all__ = ["ORACLES", "TfKeras"]


class TfKeras(Real):
    """Keras 2: the package tf_keras, or the tf.keras of a TensorFlow that still is Keras 2."""

    dialect, call_method = "tf_keras", "call"
    packages: tuple[str, ...] = ("tensorflow",)
    variable_names = (
        *("gamma", "beta", "moving_mean", "moving_variance"),
        *("moving_stddev", "renorm_mean", "renorm_stddev"),
    )

    def __init__(self) -> None:
        self.tf: Any = importlib.import_module("tensorflow")
        try:
            self.keras: Any = importlib.import_module("tf_keras")
        except ModuleNotFoundError:
            self.keras = self.tf.keras
        self.layers, self.version = self.keras.layers, self.keras.__version__
        if not self.version.startswith("2."):
            raise ModuleNotFoundError(f"no tf_keras, and tf.keras is Keras {self.version}, not 2")
        self.tf.random.set_seed(0)

    def dtype(self, name: str) -> Any:
        """The framework's own."""
        return name

    def tensor(self, array: Any) -> Any:
        """The framework's own, of an array."""
        return self.tf.constant(array)

    def array(self, tensor: Any) -> Any:
        """What a tensor holds."""
        return tensor.numpy()

    def run(self, layer: Any, x: Any, dy: Any, call: Any) -> Any:
        """One call, and the gradients of sum(y * dy)."""
        x = self.tensor(x)
        if dy is None:
            return layer(x, **call), None, {}
        with self.tf.GradientTape() as tape:
            for watched in [x, *self.parameters(layer).values()]:  # a frozen layer's too
                if watched.dtype.is_floating or watched.dtype.is_complex:
                    tape.watch(watched)
            y = layer(x, **call)
        wanted = self.parameters(layer)
        dy = self.tf.cast(self.tensor(dy), y.dtype)
        dx, *gradients = tape.gradient(y, [x, *wanted.values()], output_gradients=dy)
        return y, dx, dict(zip(wanted, gradients))

    def parameters(self, layer: Any) -> dict[str, Any]:
        """Give gamma and beta, where they exist, as the tensor library differentiates them."""
        found = self.variables(layer)
        return {name: found[name] for name in ("gamma", "beta") if name in found}

    def assign(self, variable: Any, array: Any) -> None:
        """Overwrite a variable."""
        variable.assign(self.tf.cast(self.tensor(array), variable.dtype))

    def trainable(self, layer: Any) -> Any:
        """The variables that the framework trains."""
        return layer.trainable_weights

    def saved_names(self, of: Any) -> list[str]:
        """How the framework saves them."""
        return [variable.name for variable in of.weights]

    def nested(self, make: Any, layer: Any) -> Any:
        """A net whose `bn1` is such a layer."""
        # In Keras a layer has its name of itself: the attribute that holds it plays no part.
        if not layer.built:
            raise ValueError("expected a built layer, but this one has not seen a shape: build it")
        shape = [layer.input_spec.axes.get(axis, 2) for axis in range(layer.input_spec.ndim)]
        return self.keras.Sequential([self.layers.InputLayer(shape[1:]), make(name="bn1")])


ORACLES = {"tf_keras": TfKeras}
