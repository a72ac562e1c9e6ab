"""How code names what is Keras 2's, beside what both have in common (`keras/source.py`)."""

from __future__ import annotations

from functools import partial
from typing import Any

from batchnorm.frameworks.keras import source
from batchnorm.frameworks.keras.source import GIVEN, SHARED

__all__ = ["FUNCTIONS", "HOLDER", "NETS", "NORMS", "inside", "owns"]

_FUSED = "it gives the batch's statistics beside y, and moves none"
_MADE = "it makes variables where it is called, as TensorFlow 1 does: make a layer once instead"
# Paths of functions and classes of batch normalization that no plan covers -> what is to be done.
FUNCTIONS = {
    **SHARED,
    "tensorflow.nn.batch_normalization": GIVEN,
    "tensorflow.nn.batch_norm_with_global_normalization": GIVEN,
    "tensorflow.compat.v1.nn.fused_batch_norm": _FUSED,
    "tensorflow.nn.fused_batch_norm": _FUSED,
    "tensorflow.layers.batch_normalization": _MADE,
    "tensorflow.compat.v1.layers.batch_normalization": _MADE,
    "tensorflow.layers.BatchNormalization": _MADE,
    "tensorflow.compat.v1.layers.BatchNormalization": _MADE,
    "tensorflow.contrib.layers.batch_norm": _MADE,
}
NORMS = source.norms("tf_keras", "tensorflow.keras")
# How the paths of its layers and nets begin.
NETS = ("tf_keras.", "tensorflow.keras.")
HOLDER = "tensorflow"  # the package that has it as `keras`
inside = partial(source.inside, "tf_keras")
owns = partial(source.owns, "tf_keras")


def __getattr__(name: str) -> Any:
    return getattr(source, name)
