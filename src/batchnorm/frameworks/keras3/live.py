"""Live layers and models of Keras 3. How both Kerases' are read: `frameworks/keras/live.py`."""

from __future__ import annotations

from functools import partial
from typing import Any

from batchnorm.frameworks.keras import live
from batchnorm.frameworks.keras3 import layers

__all__ = ["ACCEPTED", "bases", "is_batch_norm", "layers_of", "read"]

ACCEPTED = "keras.layers.BatchNormalization (Keras 3)"
MAJOR = "3"
bases = partial(live.bases, MAJOR)
is_batch_norm = partial(live.is_batch_norm, MAJOR)
layers_of = partial(live.layers_of, MAJOR)
read = partial(live.read, MAJOR, lambda version: layers.BatchNormalization, ACCEPTED)


def __getattr__(name: str) -> Any:
    return getattr(live, name)
