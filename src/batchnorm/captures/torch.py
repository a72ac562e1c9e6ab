"""Torch modules: a hook before each batch norm's forward. What all three share: `captures`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from batchnorm.readers.host import is_host
from batchnorm.readers.torch import to_array
from batchnorm.vocabulary import Array

__all__ = ["recalibrates", "run", "watched", "write"]

Tell = Callable[[str, Array, Any], None]
TORCH_NAMES = {"moving_mean": "running_mean", "moving_variance": "running_var"}


def recalibrates(layer: Any) -> bool:
    """Whether it has running statistics that training would move."""
    if is_host(layer):
        return bool(getattr(layer, "trainable", True))
    return getattr(layer, "running_mean", None) is not None and hasattr(layer, "momentum")


def run(model: Any, batch: Any) -> None:
    """The model on a batch; of a tuple or list, as data loaders make them, on the first."""
    model(batch[0] if isinstance(batch, tuple | list) else batch)


@contextmanager
def watched(layers: Mapping[str, Any], tell: Tell) -> Iterator[None]:
    """See `captures`; gradients are off, and all other modules keep their mode."""
    torch: Any = sys.modules["torch"]

    def hook(path: str, _: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        tell(path, to_array(given[0] if given else next(iter(named.values()))), None)

    before = [
        (layer, layer.training, {k: v.clone() for k, v in layer.named_buffers(recurse=False)})
        for layer in layers.values()
    ]
    handles = [
        layer.register_forward_pre_hook(partial(hook, path), with_kwargs=True)
        for path, layer in layers.items()
    ]
    try:
        for layer in layers.values():
            layer.training = True
        with torch.no_grad():
            yield
    finally:
        for handle in handles:
            handle.remove()
        with torch.no_grad():
            for layer, training, buffers in before:
                layer.training = training
                for name, value in buffers.items():
                    getattr(layer, name).copy_(value)


def write(layer: Any, values: Mapping[str, Array]) -> None:
    """Into the buffers, in their own types and on their own devices.

    A layer of ours inside torch may have them under torch's names.
    """
    torch: Any = sys.modules["torch"]
    with torch.no_grad():
        for name, value in values.items():
            own = name if hasattr(layer, name) else TORCH_NAMES[name]
            getattr(layer, own).copy_(torch.from_numpy(value.astype("float64")))
