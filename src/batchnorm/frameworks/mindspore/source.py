"""How code names what is MindSpore's: import paths, classes, functions, attributes, mode calls.

Facts: MindSpore 2.10, `mindspore.nn` and `mindspore.ops`. What lies in `mindspore.mint` is mint's.
"""

from __future__ import annotations

import re

__all__ = [
    "BASES", "CLASSES", "DATA_FORMAT", "DERIVED", "FROZEN", "FUNCTION", "FUNCTIONS", "IGNORED",
    "INNER", "LAYER", "NETS", "NORMS", "PACKAGES", "ROLES", "inside",
]  # fmt: skip

# The layers' classes, and what several of them derive from.
CLASSES = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm")
BASES = ("_BatchNorm", "_NormBase")
# Paths of both; `name` is the class.
LAYER = re.compile(
    rf"mindspore\.nn(?:\.layer(?:\.normalization|)|)\.(?P<name>{'|'.join((*CLASSES, *BASES))})"
)
# The function of the layers: its path and parameters, and whether gamma and beta must be given.
# Its momentum is the weight of the new batch, unlike the layers'.
FUNCTION = (
    "mindspore.ops.batch_norm",
    ("input_x", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps"),
    True,
)
_PRIMITIVE = "it is an operator that is made first: call mindspore.ops.batch_norm"
# Paths of functions and classes of batch normalization that no plan covers -> what is to be done.
FUNCTIONS = {
    FUNCTION[0]: "it is given the running statistics, which no function of {to} moves",
    "mindspore.ops.BatchNorm": _PRIMITIVE,
    "mindspore.ops.operations.BatchNorm": _PRIMITIVE,
}
# The arguments of a layer that keeps its statistics and parameters as they are.
FROZEN = "affine=False, use_batch_statistics=False"
# Layers that stand in for one -> the names that they have of those that `ROLES` is about.
_AFFINE = frozenset({"gamma", "beta"})
NORMS = {
    "mindspore.nn.LayerNorm": _AFFINE | {"epsilon"},
    "mindspore.nn.GroupNorm": _AFFINE | {"eps"},
    **{
        f"mindspore.nn.InstanceNorm{n}d": _AFFINE | {"moving_mean", "moving_variance", "eps"}
        for n in (1, 2, 3)
    },
    "mindspore.nn.Identity": frozenset(),
}
# How the paths of its layers and nets begin.
NETS = ("mindspore.nn.",)
# What a file imports that may use it.
PACKAGES = ("mindspore",)
# Attribute -> what it is, in the core's words where it has one.
ROLES = {
    "gamma": "gamma",
    "beta": "beta",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
    "eps": "epsilon",
    "momentum": "momentum",
    "num_features": "channels",
    "use_batch_statistics": "forced_statistics",
}
# Role that no attribute says -> what says it, and what is to be seen to.
DERIVED = {
    "affine": ("{}.gamma.requires_grad", "a frozen layer has gamma.requires_grad False, too"),
    "tracks": ("({}.use_batch_statistics is not True)", ""),
}
# Class -> the attribute of a layer inside that holds its state.
INNER = {"BatchNorm3d": "bn2d"}
# What changes nothing when it is set on a finished layer; a test sets each on the real layers.
IGNORED: tuple[str, ...] = (
    "eps",
    "momentum",
    "affine",
    "gamma_init",
    "beta_init",
    "moving_mean_init",
    "moving_var_init",
    "data_format",
)
DATA_FORMAT = "NCHW"  # the default of a layer's own data format


def inside(path: str, said: str | None) -> str | None:
    """The rest of a path behind the framework's package; None for a path elsewhere.

    `said` is which Keras `keras` is, where that is known.
    """
    own = path.partition(".")[0] == "mindspore" and not path.startswith("mindspore.mint")
    return path[len("mindspore") :] if own else None
