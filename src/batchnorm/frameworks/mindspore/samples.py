"""What MindSpore's layers are put to when they are verified: tables of settings.

Nothing here says how a layer should behave, and nothing is drawn here (`batchnorm.verify`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = [
    "ATTRIBUTES",
    "CHANGES",
    "CLASSES",
    "INSIDE",
    "IS_PRINTED",
    "PARAMETERS",
    "SETTINGS",
    "VALUES",
    "inputs",
]

NAN = float("nan")
CLASSES = (("BatchNorm2d", 4), ("BatchNorm1d", 2), ("BatchNorm1d", 3), ("BatchNorm3d", 5))
INITS = ("ones", "zeros", 2, 0.5, True, "array")
SETTINGS: Mapping[str, tuple[Any, ...]] = {
    "eps": (1e-3, 0.1, 1.0, 1e-12, 2.0, 0.0, 1),
    "momentum": (0.0, 1.0, 0.3, 0.99, 1, True),
    "affine": (False, True),
    "gamma_init": INITS,
    "beta_init": INITS,
    "moving_mean_init": INITS,
    "moving_var_init": INITS,
    "use_batch_statistics": (False, True, None),
}
CHANGES: Mapping[str, tuple[Any, ...]] = {
    "momentum": (0.5, 0.0),
    "eps": (0.5,),
    "use_batch_statistics": (False, True, None),
}

PARAMETERS = (*(None,) * 9, "float16", "float64")  # their dtype; None: not given


def inputs(parameters: str | None) -> tuple[str, ...]:
    """The dtypes of inputs to draw from, whatever the parameters'."""
    return (*("float32",) * 9, "float16", "float16", "bfloat16", "float64", "int32")


# What a user may read from a layer, after everything has happened to it.
ATTRIBUTES = ("num_features", "eps", "momentum", "use_batch_statistics", "training")
INSIDE = {"BatchNorm3d": "bn2d"}  # class -> the attribute that holds the layer that does the work
IS_PRINTED = True

VALUES: Mapping[str, tuple[Any, ...]] = {
    "num_features": (0, -1, 1.5, True, None, "3", np.int64(3), 4),
    "eps": (1, True, 0.0, 2.0, -0.1, NAN, None, "x", 1.0),
    "momentum": (-0.5, 1.5, None, "x", NAN, True, [0.1]),
    "affine": (1, None, "x"),
    "gamma_init": ("xx", None, np.ones(4, np.float32), [1.0, 1.0, 1.0], np.ones(3, np.int32)),
    "moving_mean_init": ("xx", None, np.ones((3, 1), np.float32), True),
    "use_batch_statistics": (1, 0, "x"),
    "data_format": ("NHWC", "nchw", "NCDHW", None, 1),
    "dtype": (None, "float32", np.dtype("float64"), np.dtype("int32")),
    "foo": (1,),
}
"""Values at the edge, of one constructor parameter at a time."""
