"""How code names what is mint's: paths in `mindspore.mint.nn`, torch's attributes.

Facts: MindSpore 2.10, `mint/nn`.
"""

from __future__ import annotations

import re

from batchnorm.frameworks.torch.source import FUNCTION as TORCH_FUNCTION
from batchnorm.frameworks.torch.source import ROLES

__all__ = ["BASES", "CLASSES", "FUNCTION", "FUNCTIONS", "LAYER", "PACKAGES", "ROLES", "inside"]

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
# What a file imports that may use it.
PACKAGES = ("mindspore",)


def inside(path: str, said: str | None) -> str | None:
    """The rest of a path behind the framework's package; None for a path elsewhere.

    `said` is which Keras `keras` is, where that is known.
    """
    own = path.startswith("mindspore.mint")
    return path[len("mindspore.mint") :] if own else None
