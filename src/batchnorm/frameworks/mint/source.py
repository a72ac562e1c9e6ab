"""How code names what is mint's: paths in `mindspore.mint.nn`, torch's attributes.

Facts: MindSpore 2.10, `mint/nn`.
"""

from __future__ import annotations

import re

from batchnorm.frameworks.torch.source import ROLES

__all__ = [
    "BASES", "CLASSES", "DATA_FORMAT", "FUNCTIONS", "HOLDER", "IGNORED", "INFERENCE", "INNER",
    "LAYER", "NETS", "PACKAGES", "ROLES", "SECOND_NAME", "inside", "owns",
]  # fmt: skip

# The layers' classes, and what several of them derive from.
CLASSES = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d")
BASES: tuple[str, ...] = ()
# Paths of both; `name` is the class.
LAYER = re.compile(
    rf"mindspore\.mint\.nn(?:\.layer\.normalization)?\.(?P<name>{'|'.join(CLASSES)})"
)
# Paths of functions and classes of batch normalization that no plan covers.
FUNCTIONS = ("mindspore.mint.nn.functional.batch_norm",)
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
