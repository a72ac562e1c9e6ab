"""How Keras 3's files name things."""

from __future__ import annotations

from batchnorm.frameworks.keras.saved import (
    AFFINE,
    ALONE,
    BARE,
    CHANNELS_LAST,
    COUNTERS,
    COUNTLESS,
    CUMULATIVE,
    FORMS,
    INNER,
    KEPT,
    OBSERVERS,
    OPTIMIZER,
    OUTER,
    PAIRED,
    SCALARS,
    SEPARATOR,
    SIGNS,
    SLOTS,
    WIDE,
    WRAPPERS,
    doubt,
)
from batchnorm.frameworks.keras3.layers import BatchNormalization

__all__ = [
    "AFFINE", "ALONE", "BARE", "CHANNELS_LAST", "COUNTERS", "COUNTLESS", "CUMULATIVE", "FORMATS",
    "FORMS", "INNER", "KEPT", "OBSERVERS", "OPTIMIZER", "OUTER", "PAIRED", "SCALARS", "SEPARATOR",
    "SIGNS", "SLOTS", "STATE", "WIDE", "WRAPPERS", "doubt", "kernel_leaf",
]  # fmt: skip

# Names of a batch norm's state, and the role of each.
STATE = {name: entry.role for name, entry in BatchNormalization.STATE.items()}
FORMATS = ("keras", "keras-weights")


def kernel_leaf(form: str) -> str:
    """What the kernel of a layer of a form is called."""
    return "embeddings" if form == "embedding" else "kernel"
