"""What Keras 2's layers are put to when they are verified: tables of settings.

Nothing here says how a layer should behave, and nothing is drawn here (`batchnorm.verify`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["ATTRIBUTES", "TOGETHER", "UNFOLLOWED", "VALUES"]

NAN = float("nan")
A_FUNCTION = "a function"  # stands for an adjustment, which can't be written here

# What a user may read from a layer, after everything has happened to it.
ATTRIBUTES = ("axis", "momentum", "epsilon", "fused", "trainable", "compute_dtype", "losses")

UNFOLLOWED = "c"  # a layer of complex dtype, which is refused here
VALUES: Mapping[str, tuple[Any, ...]] = {
    "axis": (1.0, "1", None, [], (1,), [1], True, 4, -5, -4, 2, [1, 1], [1, 9], [1.0]),
    "momentum": (None, "x", NAN),
    "epsilon": (None, "x", NAN, -0.5, -2.0, 0.0),
    "center": ("x", None),
    "scale": ("x", None),
    "gamma_initializer": (2.0, "xx", "Ones", "ONES", []),
    "moving_variance_initializer": (2.0, "xx"),
    "gamma_regularizer": ("xx", 2.0),
    "gamma_constraint": ("xx", 2.0),
    "synchronized": ("x", None, True),
    "fused": ("x", True, 1, 0),
    "renorm": (True, 1, "x"),
    "renorm_clipping": ({"bad": 1.0}, {"rmax": 1.0}),
    "virtual_batch_size": (0, -1, 3, 2, 2.0, "x"),
    "adjustment": (A_FUNCTION,),
    "trainable": ("x", None, 0),
    "dtype": ("xx", "int32", "float64", "complex64", "mixed_float16", 1.5),
    "name": ("a/b", 3, ""),
    "weights": ([],),
    "autocast": (False,),
    "foo": (1,),
}
"""Values at the edge, of one constructor parameter at a time."""

TOGETHER: tuple[dict[str, Any], ...] = (
    {"fused": True, "renorm": True},
    {"fused": True, "virtual_batch_size": 2},
    {"fused": True, "adjustment": A_FUNCTION},
    {"fused": True, "axis": 2},
    {"fused": True, "axis": 0},
    {"fused": True, "axis": [1, 2]},
    {"fused": True, "dtype": "float64"},
    {"fused": True, "synchronized": True},
    {"renorm": True, "renorm_clipping": {"bad": 1.0}},
    {"renorm": True, "renorm_clipping": {"rmax": 0.5, "rmin": 2.0}},
    {"renorm": True, "renorm_clipping": {"dmax": -1.0}},
    {"renorm": True, "renorm_momentum": None},
    {"virtual_batch_size": 2, "axis": 0},
    {"virtual_batch_size": 2, "axis": 1, "adjustment": A_FUNCTION},
    {"epsilon": None, "fused": False},
    {"epsilon": "x", "fused": False},
    {"momentum": None, "fused": False},
    {"axis": 1, "input_shape": (3, 2, 2), "foo": 1},
)
"""Several arguments together."""
