"""Live layers and models of Keras 2. How both Kerases' are read: `frameworks/keras/live.py`."""

from __future__ import annotations

from functools import partial
from typing import Any

from batchnorm.frameworks.keras import live
from batchnorm.frameworks.keras.layer import KerasLayer
from batchnorm.frameworks.keras2 import layers, v2_6

__all__ = ["ACCEPTED", "bases", "is_batch_norm", "layers_of", "read"]


def _dialect(version: str) -> type[KerasLayer]:
    return v2_6.BatchNormalization if version.startswith("2.6") else layers.BatchNormalization


ACCEPTED = "tf.keras.layers.BatchNormalization (Keras 2)"
MAJOR = "2"
bases = partial(live.bases, MAJOR)
is_batch_norm = partial(live.is_batch_norm, MAJOR)
layers_of = partial(live.layers_of, MAJOR)
read = partial(live.read, MAJOR, _dialect, ACCEPTED)


def __getattr__(name: str) -> Any:
    return getattr(live, name)
