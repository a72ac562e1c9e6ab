"""Batch normalization exactly as PyTorch, MindSpore and Keras define it, and the bridge between.

`torch`, `mindspore`, `tf_keras` and `keras` hold each framework's layers, in NumPy; no framework is
needed or loaded. `read` takes a framework's own live layer. `batchnorm.translate`,
`batchnorm.explain` and `batchnorm.verify` hold what the commands of these names do.
"""

import importlib
from types import ModuleType

from batchnorm import checkpoints, core
from batchnorm.convert import compare, convert, fold, inspect, unfold
from batchnorm.dialects import keras, mindspore, mindspore_2_0, tf_keras, tf_keras_2_6, torch
from batchnorm.errors import BatchNormError, CheckpointError
from batchnorm.read import read

__all__ = [
    "BatchNormError",
    "CheckpointError",
    "checkpoints",
    "compare",
    "convert",
    "core",
    "fold",
    "inspect",
    "keras",
    "mindspore",
    "mindspore_2_0",
    "read",
    "tf_keras",
    "tf_keras_2_6",
    "torch",
    "unfold",
]
__version__ = "0.1.0"
_LATER = ("explain", "hosts", "translate", "verify")


def __getattr__(name: str) -> ModuleType:
    """Import a subpackage when it is first asked for."""
    if name in _LATER:
        return importlib.import_module(f"batchnorm.{name}")
    raise AttributeError(f"module 'batchnorm' has no attribute {name!r}", name=name, obj=None)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
