"""How code names what is torch's: import paths, classes, functions, attributes, mode calls.

Facts: torch 2.13, `torch.nn` and `torch.nn.functional`; torchvision's frozen batch norm.
"""

from __future__ import annotations

import re

__all__ = [
    "BASES", "CLASSES", "FUNCTION", "FUNCTIONS", "IGNORED", "INFERENCE", "LAYER", "NETS",
    "NORMS", "PACKAGES", "ROLES", "inside",
]  # fmt: skip

# The layers' classes, and what several of them derive from.
CLASSES = (*(f"{lazy}BatchNorm{n}d" for lazy in ("", "Lazy") for n in (1, 2, 3)), "SyncBatchNorm")
BASES = ("_BatchNorm", "_NormBase", "_LazyNormBase")
# Paths of both; `name` is the class.
LAYER = re.compile(
    rf"torch\.nn(?:\.modules(?:\.batchnorm|)|)\.(?P<name>{'|'.join((*CLASSES, *BASES))})"
)
# The function of the layers: its path and parameters, and whether gamma and beta must be given.
FUNCTION = (
    "torch.nn.functional.batch_norm",
    ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps"),
    False,
)
_ORDER = "it takes weight and bias before the statistics: call torch.nn.functional.batch_norm"
_SYNC = "no net is converted in {to}: make its layers synchronized ones"
_FUSED = "it fuses this framework's layers: fold the checkpoint (batchnorm convert --fold) instead"
# Paths of functions and classes of batch normalization that no plan covers -> what is to be done.
FUNCTIONS = {
    FUNCTION[0]: "it is given the running statistics, which no function of {to} moves",
    "torch.batch_norm": _ORDER,
    "torch.native_batch_norm": _ORDER,
    "torch.nn.SyncBatchNorm.convert_sync_batchnorm": _SYNC,
    "torch.nn.modules.batchnorm.SyncBatchNorm.convert_sync_batchnorm": _SYNC,
    "torch.nn.utils.fuse_conv_bn_eval": _FUSED,
    "torch.nn.utils.fuse_conv_bn_weights": _FUSED,
    "torch.nn.utils.fusion.fuse_conv_bn_eval": _FUSED,
    "torch.nn.utils.fusion.fuse_conv_bn_weights": _FUSED,
    "torchvision.ops.FrozenBatchNorm2d": "{to} has no class for it",
    "torchvision.ops.misc.FrozenBatchNorm2d": "{to} has no class for it",
}
# Layers that stand in for one -> the names that they have of those that `ROLES` is about.
_AFFINE = frozenset({"weight", "bias", "eps"})
NORMS = {
    "torch.nn.LayerNorm": _AFFINE,
    "torch.nn.GroupNorm": _AFFINE,
    **{
        f"torch.nn.InstanceNorm{n}d": _AFFINE
        | {"running_mean", "running_var", "num_batches_tracked"}
        for n in (1, 2, 3)
    },
    "torch.nn.Identity": frozenset(),
}
# How the paths of its layers and nets begin.
NETS = ("torch.nn.",)
# What a file imports that may use it; MindSpore has a family of torch's words.
PACKAGES = ("torch", "torchvision", "mindspore")
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
# What changes nothing when it is set on a finished layer; a test sets each on the real layers.
IGNORED: tuple[str, ...] = ("affine",)
INFERENCE = "eval"  # the method that sets the mode for inference and takes nothing


def inside(path: str, said: str | None) -> str | None:
    """The rest of a path behind the framework's package; None for a path elsewhere.

    `said` is which Keras `keras` is, where that is known.
    """
    return path[len("torch") :] if path.partition(".")[0] == "torch" else None
