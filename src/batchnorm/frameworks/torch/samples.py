"""What torch's layers are put to when they are verified: tables of settings.

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
    "IS_PRINTED",
    "PARAMETERS",
    "SETTINGS",
    "STATES",
    "VALUES",
    "inputs",
]

NAN = float("nan")
CLASSES = (("BatchNorm2d", 4), ("BatchNorm1d", 2), ("BatchNorm1d", 3), ("BatchNorm3d", 5))
MOMENTA = (None, 0.0, 1.0, 0.3, 0.01, 1, True, -0.5, 2.0)
SETTINGS: Mapping[str, tuple[Any, ...]] = {
    "eps": (1e-3, 0.1, 1.0, 1e-12, 2.5, 0.0, -1e-5),
    "momentum": MOMENTA,
    "affine": (False, True, 1, 0),
    "track_running_stats": (False, True, 0),
    "bias": (False, True, 1),
}
CHANGES: Mapping[str, tuple[Any, ...]] = {
    "momentum": MOMENTA,
    "eps": (0.5, 1e-5, 0.0),
    "track_running_stats": (False, True),
}

PARAMETERS = (None, None, None, "float64", "float16", "bfloat16")  # their dtype; None: not given


def inputs(parameters: str | None) -> tuple[str, ...]:
    """The dtypes of inputs to draw from, mostly the parameters' own."""
    return (*(parameters or "float32",) * 9, "float16", "bfloat16", "float64", "int32")


# What a user may read from a layer, after everything has happened to it.
ATTRIBUTES = ("num_features", "eps", "momentum", "affine", "track_running_stats", "training")
IS_PRINTED = True
STATES = ("running_mean", "running_var", "num_batches_tracked", "weight", "bias")
"""What a user may take from a layer by setting it to None."""

VALUES: Mapping[str, tuple[Any, ...]] = {
    "num_features": (-1, 0, 1.5, True, None, "3", (3,), np.int64(3), 4),
    "eps": (0.0, -1e-5, None, "x", 1, True, NAN, float("inf")),
    "momentum": ("x", NAN, 1, True, [0.1]),
    "affine": ("x", 0, None),
    "bias": ("x", 0, None),
    "track_running_stats": ("x", 0, None),
    "dtype": (np.dtype("int32"), np.dtype("complex64"), "float32", np.dtype("float64")),
    "foo": (1,),
}
"""Values at the edge, of one constructor parameter at a time."""
