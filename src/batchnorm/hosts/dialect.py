"""A layer of ours as a host sees it: one formula per kind of call, and tensors by name and role.

Not here: any framework, and any rule of a dialect; those are asked of the layer (`computation`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from batchnorm.computation import computation
from batchnorm.errors import InvalidType, InvalidValue
from batchnorm.frameworks.keras.layer import KerasLayer
from batchnorm.hosts.formulas import Formula
from batchnorm.layer import Layer
from batchnorm.vocabulary import Array, Mode, as_dtype

__all__ = ["by_role", "check", "formula", "names", "of_mask"]


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
    unused = [role for role in ("gamma", "beta") if role in found and layer._value(role) is None]
    return {role: tensor for role, tensor in found.items() if role not in unused}


def formula(
    layer: Layer, shape: tuple[int, ...], dtype: str, training: bool, mask: Array | None = None
) -> tuple[Formula | None, bool]:
    """What the layer does with an input of this shape and type, and whether the mask counts.

    None where nothing is computed: torch gives an empty batch back as it is.

    Raises:
        Exception: whatever the dialect raises for such an input.
    """
    x = np.broadcast_to(np.zeros((), as_dtype(dtype)), shape)
    counts = training and bool(getattr(layer, "track_running_stats", False))
    found = computation(layer, x, training, mask)
    if found is None:
        return None, False
    settings, inner = found.settings, found.x
    split = None
    if inner.ndim > len(shape):  # ghost batches; the number of samples stays open
        running = settings.mode is Mode.RUNNING
        split = (-1, 1, *shape[1:]) if running else (inner.shape[0], -1, *inner.shape[2:])
    casts: tuple[str, ...] = (inner.dtype.name,)
    if isinstance(layer, KerasLayer) and x.dtype.kind in "fV" and getattr(layer, "autocast", True):
        casts = (as_dtype(layer.compute_dtype).name, *casts)
    made = Formula(
        settings=settings,
        dtype=found.dtype.name,
        casts=casts,
        wide="float64" if inner.dtype == np.float64 else "float32",
        counts=counts,
        cumulative=getattr(layer, "momentum", 0) is None and "num_batches_tracked" in layer.state,
        guarded=layer.FRAMEWORK == "tf_keras",
        skips_empty=not isinstance(layer, KerasLayer),
        split=split if inner.size else None,
    )
    return made, found.weights is not None


def of_mask(layer: Layer, mask_shape: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """The shape in which a mask broadcasts against an input of this rank.

    Keras' masks lack the last axis. The other dialects have none; there a mask has the samples'
    axis, or all of the input's but the channels' (axis 1).

    Raises:
        ValueError: another shape.
    """
    if isinstance(layer, KerasLayer):
        return (*mask_shape, 1)
    if len(mask_shape) == 1:
        return mask_shape + (1,) * (rank - 1)
    if len(mask_shape) == rank - 1:
        return (mask_shape[0], 1, *mask_shape[1:])
    raise InvalidValue(
        f"a mask must have shape (N,) or the input's without axis 1, but its shape is {mask_shape} "
        f"for an input of rank {rank}"
    )
