"""How code names what is torch's: import paths, classes, functions, attributes, mode calls.

Facts: torch 2.13, `torch.nn` and `torch.nn.functional`; torchvision's frozen batch norm.
"""

from __future__ import annotations

import re

__all__ = [
    "BASES", "CLASSES", "DATA_FORMAT", "FUNCTIONS", "HOLDER", "IGNORED", "INFERENCE", "INNER",
    "LAYER", "NETS", "PACKAGES", "ROLES", "SECOND_NAME", "inside", "owns",
]  # fmt: skip

# The layers' classes, and what several of them derive from.
CLASSES = (*(f"{lazy}BatchNorm{n}d" for lazy in ("", "Lazy") for n in (1, 2, 3)), "SyncBatchNorm")
BASES = ("_BatchNorm", "_NormBase", "_LazyNormBase")
# Paths of both; `name` is the class.
LAYER = re.compile(
    rf"torch\.nn(?:\.modules(?:\.batchnorm|)|)\.(?P<name>{'|'.join((*CLASSES, *BASES))})"
)
# Paths of functions and classes of batch normalization that no plan covers.
FUNCTIONS = (
    "torch.nn.functional.batch_norm",
    "torch.batch_norm",
    "torch.native_batch_norm",
    "torch.nn.SyncBatchNorm.convert_sync_batchnorm",
    "torch.nn.modules.batchnorm.SyncBatchNorm.convert_sync_batchnorm",
    "torch.nn.utils.fuse_conv_bn_eval",
    "torch.nn.utils.fuse_conv_bn_weights",
    "torch.nn.utils.fusion.fuse_conv_bn_eval",
    "torch.nn.utils.fusion.fuse_conv_bn_weights",
    "torchvision.ops.FrozenBatchNorm2d",
    "torchvision.ops.misc.FrozenBatchNorm2d",
)
# How the paths of its layers and nets begin.
NETS = ("torch.nn.",)
# What a file imports that may use it; MindSpore has a family of torch's words.
PACKAGES = ("torch", "torchvision", "mindspore")
HOLDER = ""  # the package that has it as `keras`
SECOND_NAME = ""  # what users call its package where its own name is taken
# Attribute -> what it is, in the core's words where it has one.
ROLES = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "running_mean",
    "running_var": "running_var",
    "num_batches_tracked": "batches",
    "eps": "epsilon",
    "momentum": "momentum",
    "num_features": "channels",
    "affine": "affine",
    "track_running_stats": "tracks",
    "reset_running_stats": "reset of the statistics",
    "reset_parameters": "reset of the parameters",
}
# Class -> the attribute of a layer inside that holds its state.
INNER: dict[str, str] = {}
# What changes nothing when it is set on a finished layer; a test sets each on the real layers.
IGNORED: tuple[str, ...] = ("affine",)
INFERENCE = "eval"  # the method that sets the mode for inference and takes nothing
DATA_FORMAT = ""  # the default of a layer's own data format


def inside(path: str, said: str | None) -> str | None:
    """The rest of a path behind the framework's package; None for a path elsewhere.

    `said` is which Keras `keras` is, where that is known.
    """
    return path[len("torch") :] if path.partition(".")[0] == "torch" else None


def owns(path: str, said: str | None) -> bool:
    """Whether a path of `LAYER` or `FUNCTIONS` is this framework's, if two share a package."""
    return True
