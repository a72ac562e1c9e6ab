"""mint's live cells as layers of ours; models that hold them are MindSpore's, as all cells are.

How models run and are written to: `frameworks/mindspore/live.py`. No framework is imported.
"""

from __future__ import annotations

import sys
from typing import Any

from batchnorm.errors import InvalidType
from batchnorm.frameworks.mindspore import live
from batchnorm.frameworks.mint import layers
from batchnorm.layer import Layer

__all__ = ["ACCEPTED", "bases", "is_batch_norm", "read", "settings_of"]

ACCEPTED = "mindspore.mint.nn.BatchNorm1d/2d/3d or SyncBatchNorm"
CLASSES = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm")


def bases() -> tuple[type, ...]:
    """What its layers are instances of; nothing where it isn't loaded."""
    module = sys.modules.get("mindspore.mint.nn.layer.normalization")
    return () if module is None else (module._BatchNorm,)


def is_batch_norm(obj: Any) -> bool:
    """Whether a cell is a batch norm by its class."""
    return isinstance(obj, bases())


def settings_of(layer: Any) -> dict[str, float | None]:
    """Epsilon and momentum of a cell, or of one of ours, by their meaning."""
    return {"epsilon": layer.eps, "weight_of_batch": layer.momentum}


def read(obj: Any) -> Layer:
    """One layer."""
    name = next((n for n in CLASSES for c in type(obj).__mro__ if c.__name__ == n), None)
    if name is None:
        raise InvalidType(f"a mint {type(obj).__name__} can't be read: expected {ACCEPTED}")
    defined = str(type(obj).construct.__module__)
    if not defined.startswith("mindspore.mint."):
        raise InvalidType(
            f"{type(obj).__qualname__} has a construct of its own (in {defined}), so nothing says "
            f"that it is a batch norm; read takes {ACCEPTED}"
        )
    state = layers.BatchNorm2d.STATE
    values = {own: getattr(obj, own) for own in state}
    arrays = {own: None if value is None else live.to_array(value) for own, value in values.items()}
    # SyncBatchNorm on one process computes as BatchNorm; it takes any rank from 2.
    layer: Layer = getattr(layers, name, layers.BatchNorm2d)(
        obj.num_features, obj.eps, obj.momentum, bool(obj.affine), bool(obj.track_running_stats)
    )
    for own, value in arrays.items():
        setattr(layer, own, value)
    layer.set_train(bool(obj.training))  # type: ignore[attr-defined]
    return layer


def __getattr__(name: str) -> Any:
    return getattr(live, name)
