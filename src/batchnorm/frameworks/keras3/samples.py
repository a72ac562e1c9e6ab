"""What Keras 3's layers are put to when they are verified: tables of settings.

Nothing here says how a layer should behave, and nothing is drawn here (`batchnorm.verify`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["ATTRIBUTES", "TOGETHER", "VALUES"]

NAN = float("nan")
A_FUNCTION = "a function"  # stands for an adjustment, which can't be written here

# What a user may read from a layer, after everything has happened to it.
ATTRIBUTES = ("axis", "momentum", "epsilon", "trainable", "compute_dtype", "losses")

VALUES: Mapping[str, tuple[Any, ...]] = {
    "axis": (1.7, "1", "x", None, True, [1], (1,), 4, -5, -4),
    "momentum": (None, "x", "0.5", NAN, True, [0.9]),
    "epsilon": (None, "x", "0.5", NAN, -0.5, -2.0, 0.0),
    "center": ("x", None),
    "scale": ("x", None),
    "gamma_initializer": (2.0, "xx", "Ones"),
    "moving_variance_initializer": (2.0, "xx"),
    "gamma_regularizer": ("xx", 2.0),
    "gamma_constraint": ("xx", 2.0),
    "synchronized": ("x", None, True),
    "renorm": (1, "x"),
    "renorm_clipping": ({"bad": 1.0}, {"rmax": 1.0}),
    "trainable": ("x", None, 0, 1),
    "dtype": ("xx", "int32", "float64", "mixed_float16", 1.5),
    "name": ("a/b", 3, ""),
    "fused": (True, None),
    "virtual_batch_size": (2,),
    "adjustment": (A_FUNCTION,),
    "weights": ([],),
    "autocast": (False,),
    "foo": (1,),
}
"""Values at the edge, of one constructor parameter at a time."""

TOGETHER: tuple[dict[str, Any], ...] = (
    {"renorm": True, "renorm_clipping": {"bad": 1.0}},
    {"renorm": True, "renorm_clipping": {"rmax": 0.5, "rmin": 2.0}},
    {"renorm": True, "renorm_clipping": {"dmax": -1.0}},
    {"renorm": True, "renorm_clipping": {"rmax": "x"}},
    {"renorm": True, "renorm_momentum": None},
    {"renorm": True, "renorm_momentum": "0.5"},
)
"""Several arguments together."""
