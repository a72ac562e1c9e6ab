"""Live layers and models of Keras 3. How both Kerases' are read: `frameworks/keras/live.py`."""

from __future__ import annotations

from functools import partial
from typing import Any

from batchnorm.frameworks.keras import live
from batchnorm.frameworks.keras.layer import KerasLayer
from batchnorm.frameworks.keras3 import layers
from batchnorm.layer import Layer

__all__ = ["ACCEPTED", "bases", "is_batch_norm", "layers_of", "read"]

ACCEPTED = "keras.layers.BatchNormalization (Keras 3)"
MAJOR = "3"
bases = partial(live.bases, MAJOR)


def is_batch_norm(obj: Any) -> bool:
    """Whether a layer is a batch norm by its class."""
    return live.version_of(obj, MAJOR) is not None


def layers_of(model: Any) -> dict[str, Any]:
    """The batch norms inside a model, by their names, those of inner models before a slash."""
    return live.layers_of(model, is_batch_norm)


def read(obj: Any) -> Layer:
    """One layer."""
    return live.read(obj, _dialect(live.version_of(obj, MAJOR)), ACCEPTED)


def _dialect(version: str | None) -> type[KerasLayer] | None:
    return None if version is None else layers.BatchNormalization


def __getattr__(name: str) -> Any:
    return getattr(live, name)
