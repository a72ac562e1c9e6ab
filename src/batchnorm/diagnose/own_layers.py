"""Layers of this package as a model: one, or a sequence of them called one after another.

The same functions as in the frameworks' facets `running`, which say what each does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from batchnorm import frameworks
from batchnorm.layer import Layer
from batchnorm.vocabulary import Array

__all__ = [
    "descend",
    "described",
    "eager",
    "is_last",
    "one_pass",
    "parameterised",
    "run",
    "standing",
    "state",
    "unchanged",
]

Tell = Callable[[str, str, Any, Any], None]


def eager(model: Any) -> Any:
    """The layers."""
    return model


def _layers(model: Any) -> list[tuple[str, Layer]]:
    if isinstance(model, Layer):
        return [("", model)]
    pairs = model.items() if isinstance(model, Mapping) else enumerate(model)
    return [(str(name), layer) for name, layer in pairs]


def _is_told(layer: Layer) -> bool:
    """Whether its mode is said in each call."""
    return frameworks.find(layer.FRAMEWORK).is_keras


def parameterised(model: Any) -> dict[str, Any]:
    """The layers by their place, one alone by the empty name."""
    return dict(_layers(model))


def described(layer: Any) -> dict[str, Any]:
    """All are batch norms."""
    return {"kind": "batch_norm"}


def is_last(model: Any) -> bool | None:
    """Nobody says so."""
    return None


def standing(layer: Any) -> bool | None:
    """Its mode; None where calls say so."""
    mode = getattr(layer, "training", None)
    return None if _is_told(layer) or mode is None else bool(mode)


def one_pass(layer: Any) -> bool:
    """Never."""
    return False


def state(layer: Any) -> dict[str, Array]:
    """By role."""
    return {layer.STATE[name].role: value.ravel() for name, value in layer.state.items()}


@contextmanager
def unchanged(model: Any) -> Iterator[None]:
    """State, modes, settings and latest results afterwards as before."""
    kept = []
    for _, layer in _layers(model):
        values = {
            name: value.copy() if isinstance(value, np.ndarray) else value
            for name, value in vars(layer).items()
            if name != "_latest"
        }
        kept.append((layer, dict(vars(layer)), values))
    try:
        yield
    finally:
        for layer, objects, values in kept:
            for name, value in values.items():
                own = objects[name]
                if isinstance(own, np.ndarray):
                    own[...] = value
                object.__setattr__(layer, name, own)
            for name in set(vars(layer)) - set(values):
                object.__delattr__(layer, name)


def run(
    model: Any,
    batch: Any,
    layers: Mapping[str, Any],
    tell: Tell,
    *,
    training: bool | None = None,
    weigh: Callable[[list[Array]], list[Array]] | None = None,
    loss: Callable[[Any], Any] | None = None,
) -> tuple[list[Array], dict[str, dict[str, Array]]]:
    """Forward, and backward with weights of the outputs; of a loss there is no derivative here."""
    x = batch[0] if isinstance(batch, tuple | list) else batch
    own = _layers(model)
    for name, layer in own:
        called: Any = layer
        if _is_told(layer):
            y = called(x, training=bool(training))
        else:
            if training is not None:
                called.training = training
            y = called(x)
        if name in layers:
            tell(name, "forward", x, y)
        x = y
    if weigh is None:
        return [x], {}
    dy = weigh([x])[0].astype(x.dtype)
    gradients = {}
    for name, layer in reversed(own):
        if name in layers:
            tell(name, "y", dy, None)
        dy = layer.backward(dy)
        if name in layers:
            tell(name, "x", dy, None)
        roles = {layer.STATE[key].role: g.ravel() for key, g in layer.gradients.items()}
        gradients[name] = roles
    return [x], gradients


def descend(model: Any, rate: float) -> None:
    """One step of plain gradient descent."""
    for _, layer in _layers(model):
        for name, gradient in layer.gradients.items():
            parameter = getattr(layer, name)
            parameter[...] = parameter - rate * gradient
