"""Keras models, 2 and 3: a wrapper around each batch norm's call. What all share: `captures`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from batchnorm.readers.keras import to_array
from batchnorm.vocabulary import Array

__all__ = ["recalibrates", "run", "watched", "write"]

Tell = Callable[[str, Array, Any], None]


def recalibrates(layer: Any) -> bool:
    """Whether it has running statistics that training would move: a frozen layer hasn't."""
    return bool(layer.trainable)


def run(model: Any, batch: Any) -> None:
    """The model on a batch, in inference; of a tuple, as data sets make them, on the first."""
    model(batch[0] if isinstance(batch, tuple) else batch, training=False)


@contextmanager
def watched(layers: Mapping[str, Any], tell: Tell) -> Iterator[None]:
    """See `captures`; batch norms are called with training=True, all else is as `run` has it."""
    before = [
        (layer, [to_array(weight) for weight in layer.get_weights()]) for layer in layers.values()
    ]

    def call(path: str, own: Any, inputs: Any, *given: Any, **named: Any) -> Any:
        mask = named.get("mask", given[1] if len(given) > 1 else None)
        tell(path, to_array(inputs), None if mask is None else to_array(mask))
        rest = {name: value for name, value in named.items() if name != "training"}
        return own(inputs, True, *given[1:], **rest)

    try:
        for path, layer in layers.items():
            layer.call = partial(call, path, layer.call)
        yield
    finally:
        for layer, values in before:
            vars(layer).pop("call", None)
            layer.set_weights(values)


def write(layer: Any, values: Mapping[str, Array]) -> None:
    """Into the variables, in their own types."""
    for name, value in values.items():
        own = getattr(layer, name)
        own.assign(value.astype(to_array(own).dtype))
