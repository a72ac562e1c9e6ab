"""Batch normalization exactly as PyTorch, MindSpore and Keras define it, and the bridge between.

`torch`, `mindspore`, `tf_keras` and `keras` hold each framework's layers, in NumPy; no framework is
needed or loaded. `read` takes a framework's own live layer. `batchnorm.translate`,
`batchnorm.explain` and `batchnorm.verify` hold what the commands of these names do.
"""

from batchnorm import core
from batchnorm.dialects import keras, mindspore, mindspore_2_0, tf_keras, tf_keras_2_6, torch
from batchnorm.errors import BatchNormError, CheckpointError
from batchnorm.read import read

__all__ = [
    "BatchNormError",
    "CheckpointError",
    "core",
    "keras",
    "mindspore",
    "mindspore_2_0",
    "read",
    "tf_keras",
    "tf_keras_2_6",
    "torch",
]
__version__ = "0.1.0"
