"""Which axis the channels are, and a batch carried from one model's layout into another's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np

from batchnorm.vocabulary import Array

__all__ = ["arrays", "carried", "is_last", "plain"]


def is_last(room: ModuleType, model: Any) -> bool:
    """Whether channels are the last axis: as the model says, or else as its batch norms have it."""
    said = room.is_last(model)
    if said is not None:
        return bool(said)
    axes = [getattr(layer, "axis", 1) for layer in room.parameterised(model).values()]
    flat = [axis[0] if isinstance(axis, list | tuple) and len(axis) == 1 else axis for axis in axes]
    known = [axis for axis in flat if isinstance(axis, int)]
    return bool(known) and 1 not in known


def carried(batch: Any, last: bool, own_last: bool) -> Any:
    """A batch, or a tuple or mapping of arrays, from one layout into another."""

    def moved(value: Any) -> Array:
        array = plain(value)
        if array.ndim > 2 and last != own_last:
            source, target = (-1, 1) if last else (1, -1)
            return np.ascontiguousarray(np.moveaxis(array, source, target))
        return array

    return _each(batch, moved)


def _each(batch: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(batch, Mapping):
        return {name: change(value) for name, value in batch.items()}
    if isinstance(batch, tuple | list):
        return tuple(change(value) for value in batch)
    return change(batch)


def arrays(batch: Any) -> list[Array]:
    """The arrays of a batch, which may be one, or a tuple or mapping of them."""
    if isinstance(batch, Mapping):
        batch = tuple(batch.values())
    return [plain(value) for value in batch] if isinstance(batch, tuple | list) else [plain(batch)]


def plain(value: Any) -> Array:
    """A tensor of any framework as an array."""
    for name in ("detach", "cpu", "asnumpy", "numpy"):
        if hasattr(value, name):
            try:
                value = getattr(value, name)()
            except TypeError:  # 16 bits that NumPy has no type for
                value = value.float().numpy()
    return np.asarray(value)
