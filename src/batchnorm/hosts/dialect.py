"""A layer of ours as a host sees it: one formula per kind of call, and tensors by name and role.

Not here: any framework, and any rule of a dialect; those are asked of the layer (`decide`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from batchnorm.computation import Computation, Masking
from batchnorm.errors import InvalidType
from batchnorm.hosts.formulas import Formula
from batchnorm.layer import Layer
from batchnorm.vocabulary import Mode, as_dtype

__all__ = ["by_role", "check", "decided", "formula", "names"]


def check(layer: Any, where: str) -> None:
    """Refuse what is no layer.

    Raises:
        TypeError: no layer of this package.
    """
    if not isinstance(layer, Layer):
        raise InvalidType(
            f"{where} takes a layer of batchnorm, but got {type(layer).__qualname__}; "
            "batchnorm.read makes one of a framework's own"
        )


def names(layer: Layer) -> tuple[list[str], list[str]]:
    """State entries that are trained, and those that aren't, in the framework's order."""
    present = list(layer.state)
    trained = [
        name
        for name in present
        if layer.STATE[name].role in ("gamma", "beta") and layer._trains(layer.STATE[name].role)
    ]
    return trained, [name for name in present if name not in trained]


def by_role(layer: Layer, tensors: dict[str, Any]) -> dict[str, Any]:
    """Tensors by role, without those that the layer has and doesn't apply."""
    found = {layer.STATE[name].role: tensor for name, tensor in tensors.items()}
    unused = [role for role in ("gamma", "beta") if role in found and not layer.applies(role)]
    return {role: tensor for role, tensor in found.items() if role not in unused}


class Known:
    """What the latest call decided; a layer forgets it when an attribute of it is set."""

    __slots__ = ("changeable", "found", "key")

    def __init__(self) -> None:
        self.key: Any = None
        self.found: Any = None
        self.changeable: list[tuple[Any, Any]] = []


def decided(
    layer: Any, shape: tuple[int, ...], dtype: np.dtype[Any], training: bool
) -> Computation:
    """As `Layer.decide`, of which the answer to the latest call is kept while no setting changes.

    Not where one is an array; of lists and dictionaries there are copies to compare with.
    """
    known, key = layer._latest, (shape, dtype, training)
    same = type(known) is Known and known.key == key
    if same and all(value == before for value, before in known.changeable):
        kept: Computation = known.found
        return kept
    known = layer._latest = Known()  # before the settings are read: who sets one takes it away
    values = list(vars(layer).values())
    known.changeable = [(v, v.copy()) for v in values if isinstance(v, dict | list)]
    found = known.found = layer.decide(tuple(shape), dtype, training)
    if not any(isinstance(value, np.ndarray) for value in values):
        known.key = key
    return found


def formula(
    layer: Layer,
    shape: tuple[int, ...],
    dtype: str,
    training: bool,
    mask: Any = None,
    total: Callable[[int], int] | None = None,
) -> tuple[Formula | None, Masking | None]:
    """What the layer does with an input of this shape and type, and how the mask counts.

    None where nothing is computed: torch gives an empty batch back as it is. The shape of ghost
    batches leaves the number of samples open, where there are any.

    Raises:
        Exception: whatever the dialect raises for such an input.
    """
    found = layer.decide(shape, dtype, training, mask, total=total)
    if found.passes:
        return None, None
    split = found.split
    if split is not None and 0 not in split:
        inference = found.settings.mode is Mode.RUNNING
        split = (-1, 1, *split[2:]) if inference else (split[0], -1, *split[2:])
    last = found.casts[-1] if found.casts else as_dtype(dtype)
    made = Formula(
        settings=found.settings,
        dtype=found.dtype.name,
        casts=tuple(cast.name for cast in found.casts),
        wide="float64" if last == np.float64 else "float32",
        counts=found.counts,
        cumulative=found.cumulative,
        guarded=found.guarded,
        skips_empty=found.skips_empty,
        split=split,
    )
    return made, found.masking
