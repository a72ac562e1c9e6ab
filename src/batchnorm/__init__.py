"""Batch normalization exactly as PyTorch, MindSpore and Keras define it, and the bridge between.

`torch`, `mindspore`, `tf_keras` and `keras` hold each framework's layers, in NumPy; no framework is
needed or loaded. `read` takes a framework's own live layer. `batchnorm.translate`,
`batchnorm.explain` and `batchnorm.verify` hold what the commands of these names do.
"""

import importlib
from types import ModuleType

from batchnorm import checkpoints, core
from batchnorm.convert import compare, convert, fold, inspect, unfold
from batchnorm.core.threads import get_num_threads, set_num_threads
from batchnorm.errors import BatchNormError, CheckpointError
from batchnorm.frameworks.keras2 import layers as tf_keras
from batchnorm.frameworks.keras2 import v2_6 as tf_keras_2_6
from batchnorm.frameworks.keras3 import layers as keras
from batchnorm.frameworks.mindspore import layers as mindspore
from batchnorm.frameworks.mindspore import v2_0 as mindspore_2_0
from batchnorm.frameworks.torch import layers as torch
from batchnorm.read import read
from batchnorm.recalibrate import recalibrate

__all__ = [
    "BatchNormError",
    "CheckpointError",
    "checkpoints",
    "compare",
    "convert",
    "core",
    "fold",
    "get_num_threads",
    "inspect",
    "keras",
    "mindspore",
    "mindspore_2_0",
    "read",
    "recalibrate",
    "set_num_threads",
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
