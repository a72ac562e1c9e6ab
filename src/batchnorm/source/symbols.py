"""What a dotted path means to us: a batch-norm class of a dialect, its base, or a function.

Not here: which path an expression in a file stands for (`names`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias

from batchnorm.frameworks import find
from batchnorm.translate.form import forms

__all__ = ["CLASSES", "NAMES", "Kind", "Symbol", "keras_module", "symbol_at"]

Kind: TypeAlias = Literal["class", "base", "function"]

_KERAS = (
    r"(?P<package>tensorflow(?:\.compat\.v[12]|\.python|\.contrib)?\.(?:python\.)?keras|tf_keras"
    r"|keras_core|keras)"
)
_INSIDE = r"(?:\.(?:src|api|_tf_keras|keras|_v[12]|legacy))*"
_KERAS_MODULE = re.compile(_KERAS + r"(?P<rest>\.[\w.]+|)")
_KERAS_LAYER = re.compile(
    _KERAS + _INSIDE + r"\.layers(?:\.normalization(?:\.\w+)?|\.normalization_v2|\.experimental)?"
    r"\.(?P<name>(?:Sync)?BatchNormalization|BatchNormalizationV[12])"
)
_NN_LAYER = re.compile(
    r"(?P<package>torch\.nn(?:\.modules(?:\.batchnorm|)|)"
    r"|mindspore\.nn(?:\.layer(?:\.normalization|)|))"
    r"\.(?P<name>(?:Lazy|Sync)?BatchNorm(?:[123]d)?|_BatchNorm|_NormBase|_LazyNormBase)"
)
_FUNCTIONS = {
    "torch.nn.functional.batch_norm": "torch",
    "torch.batch_norm": "torch",
    "torch.native_batch_norm": "torch",
    "torch.nn.SyncBatchNorm.convert_sync_batchnorm": "torch",
    "torch.nn.modules.batchnorm.SyncBatchNorm.convert_sync_batchnorm": "torch",
    "torch.nn.utils.fuse_conv_bn_eval": "torch",
    "torch.nn.utils.fuse_conv_bn_weights": "torch",
    "torch.nn.utils.fusion.fuse_conv_bn_eval": "torch",
    "torch.nn.utils.fusion.fuse_conv_bn_weights": "torch",
    "torchvision.ops.FrozenBatchNorm2d": "torch",
    "torchvision.ops.misc.FrozenBatchNorm2d": "torch",
    "mindspore.ops.batch_norm": "mindspore",
    "mindspore.ops.BatchNorm": "mindspore",
    "mindspore.ops.operations.BatchNorm": "mindspore",
    "mindspore.mint.nn.functional.batch_norm": "mint",
    "tensorflow.nn.batch_normalization": "tf_keras",
    "tensorflow.nn.batch_norm_with_global_normalization": "tf_keras",
    "tensorflow.compat.v1.nn.fused_batch_norm": "tf_keras",
    "tensorflow.nn.fused_batch_norm": "tf_keras",
    "tensorflow.layers.batch_normalization": "tf_keras",
    "tensorflow.compat.v1.layers.batch_normalization": "tf_keras",
    "tensorflow.layers.BatchNormalization": "tf_keras",
    "tensorflow.compat.v1.layers.BatchNormalization": "tf_keras",
    "tensorflow.contrib.layers.batch_norm": "tf_keras",
    "keras.ops.batch_normalization": "keras",
    "keras.src.ops.batch_normalization": "keras",
    "keras.backend.batch_normalization": "keras",
}
_MINT = re.compile(r"mindspore\.mint\.nn(?:\.layer\.normalization)?\.(?:Sync)?BatchNorm[123]d")

CLASSES = frozenset(
    {f"{kind}BatchNorm{rank}d" for kind in ("", "Lazy") for rank in "123"}
    | {"SyncBatchNorm", "BatchNormalization", "SyncBatchNormalization"}
)
"""What the layers' classes are called."""
NAMES = CLASSES | {"_BatchNorm", "_NormBase"} | {p.rpartition(".")[2] for p in _FUNCTIONS}
"""The last parts of the paths that mean something."""


@dataclass(frozen=True)
class Symbol:
    """What a path means.

    Attributes:
        framework: the dialect's name: torch, mindspore, mint, tf_keras or keras.
        kind: a layer's class, the base class of several, or a function or class that no plan
            covers.
        name: the class or function.
        path: as the file's imports say it.
    """

    framework: str
    kind: Kind
    name: str
    path: str


@cache
def symbol_at(path: str, keras: str | None = None) -> Symbol | None:
    """The meaning of a path such as "torch.nn.BatchNorm2d"; None for any other thing.

    Args:
        path: the dotted path, as imports say it.
        keras: which Keras `keras` and `tensorflow.keras` are: "tf_keras" (Keras 2), "keras"
            (Keras 3), or None: the package `keras` is Keras 3, and TensorFlow's is Keras 2.
    """
    if _MINT.fullmatch(path):
        return Symbol("mint", "class", path.rpartition(".")[2], path)
    found = _NN_LAYER.fullmatch(path)
    if found is not None:
        framework, name = found["package"].partition(".")[0], found["name"]
        if name in forms(find(framework)):
            return Symbol(framework, "class", name, path)
        return Symbol(framework, "base", name, path) if name.startswith("_") else None
    found = _KERAS_LAYER.fullmatch(path)
    if found is not None:
        framework = _keras(found["package"], keras)
        sync = found["name"] == "SyncBatchNormalization"
        name = found["name"] if sync else "BatchNormalization"
        return Symbol(framework, "class", name, path)
    if path in _FUNCTIONS:
        framework = _FUNCTIONS[path]
        if framework in ("keras", "tf_keras") and path.startswith("keras"):
            framework = _keras("keras", keras)
        return Symbol(framework, "function", path.rpartition(".")[2], path)
    return None


@cache
def keras_module(path: str, keras: str | None = None) -> tuple[str, str] | None:
    """The dialect and the rest of a path inside a Keras: ("tf_keras", ".layers")."""
    found = _KERAS_MODULE.fullmatch(path)
    return None if found is None else (_keras(found["package"], keras), found["rest"])


def _keras(package: str, keras: str | None) -> str:
    if package in ("tf_keras", "keras_core"):
        return "tf_keras" if package == "tf_keras" else "keras"
    if keras is not None:
        return keras
    return "keras" if package == "keras" else "tf_keras"
