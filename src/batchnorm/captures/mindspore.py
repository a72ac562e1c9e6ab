"""MindSpore cells: a hook before each batch norm's construct. What all three share: `captures`.

MindSpore calls hooks in PyNative mode only.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from batchnorm.readers.mindspore import holder
from batchnorm.vocabulary import Array

__all__ = ["recalibrates", "run", "watched", "write"]

Tell = Callable[[str, Array, Any], None]


def recalibrates(layer: Any) -> bool:
    """Whether it has running statistics that training would move."""
    return holder(layer).use_batch_statistics is not False


def run(model: Any, batch: Any) -> None:
    """The model on a batch; of a tuple or list, as data sets make them, on the first."""
    model(batch[0] if isinstance(batch, tuple | list) else batch)


@contextmanager
def watched(layers: Mapping[str, Any], tell: Tell) -> Iterator[None]:
    """See `captures`; all other cells keep their mode."""

    def hook(path: str, _: Any, given: tuple[Any, ...]) -> None:
        tell(path, np.array(given[0].asnumpy()), None)

    names = ("moving_mean", "moving_variance")
    before = []
    for layer in layers.values():
        values = {name: np.array(getattr(holder(layer), name).asnumpy()) for name in names}
        before.append((layer, bool(holder(layer).training), values))
    handles = [
        layer.register_forward_pre_hook(partial(hook, path)) for path, layer in layers.items()
    ]
    try:
        for layer in layers.values():
            layer.set_train(True)
        yield
    finally:
        for handle in handles:
            handle.remove()
        for layer, training, values in before:
            layer.set_train(training)
            write(layer, values)


def write(layer: Any, values: Mapping[str, Array]) -> None:
    """Into the parameters, in their own types."""
    module: Any = sys.modules["mindspore"]
    for name, value in values.items():
        own = getattr(holder(layer), name)
        own.set_data(module.Tensor(value.astype(own.asnumpy().dtype)))
