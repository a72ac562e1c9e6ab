"""How code names what is mint's: paths in `mindspore.mint.nn`, torch's attributes.

Facts: MindSpore 2.10, `mint/nn`.
"""

from __future__ import annotations

import re

from batchnorm.frameworks.torch.source import FUNCTION as TORCH_FUNCTION
from batchnorm.frameworks.torch.source import ROLES

__all__ = [
    "BASES", "CLASSES", "DATA_FORMAT", "FROZEN", "FUNCTION", "FUNCTIONS", "HOLDER", "IGNORED",
    "INFERENCE", "INNER", "LAYER", "NETS", "NORMS", "PACKAGES", "ROLES", "SECOND_NAME", "inside",
    "owns",
]  # fmt: skip

# The layers' classes, and what several of them derive from.
CLASSES = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm")
BASES = ("_BatchNorm", "_NormBase")
# Paths of both; `name` is the class.
LAYER = re.compile(
    rf"mindspore\.mint\.nn(?:\.layer\.normalization)?\.(?P<name>{'|'.join((*CLASSES, *BASES))})"
)
# The function of the layers: its path and parameters, and whether gamma and beta must be given.
FUNCTION = ("mindspore.mint.nn.functional.batch_norm", TORCH_FUNCTION[1], False)
# Paths of functions and classes of batch normalization that no plan covers -> what is to be done.
FUNCTIONS = {FUNCTION[0]: "it is given the running statistics, which no function of {to} moves"}
FROZEN = ""  # the arguments of a layer that keeps its statistics and parameters as they are
# Other normalizations -> the names that they have of those that `ROLES` is about.
NORMS: dict[str, frozenset[str]] = {}
# How the paths of its own nets begin: they are MindSpore's cells.
NETS: tuple[str, ...] = ()
# What a file imports that may use it.
PACKAGES = ("mindspore",)
HOLDER = ""  # the package that has it as `keras`
SECOND_NAME = ""  # what users call its package where its own name is taken
# Class -> the attribute of a layer inside that holds its state.
INNER: dict[str, str] = {}
# What changes nothing when it is set on a finished layer.
IGNORED: tuple[str, ...] = ()
INFERENCE = ""  # the method that sets the mode for inference and takes nothing
DATA_FORMAT = ""  # the default of a layer's own data format


def inside(path: str, said: str | None) -> str | None:
    """The rest of a path behind the framework's package; None for a path elsewhere.

    `said` is which Keras `keras` is, where that is known.
    """
    own = path.startswith("mindspore.mint")
    return path[len("mindspore.mint") :] if own else None


def owns(path: str, said: str | None) -> bool:
    """Whether a path of `LAYER` or `FUNCTIONS` is this framework's, if two share a package."""
    return True
