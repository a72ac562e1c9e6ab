"""Cases of mindspore.nn.BatchNorm1d, 2d and 3d. Nothing here says how the layer should behave."""

from __future__ import annotations

from typing import Any

import numpy as np

from batchnorm.verify.draw import BATCH, LAYOUTS, SIZES, Case, Chooser, Step, changes, some
from batchnorm.vocabulary import as_dtype

__all__ = ["CLASSES", "draw", "step"]

CLASSES = (("BatchNorm2d", 4), ("BatchNorm1d", 2), ("BatchNorm1d", 3), ("BatchNorm3d", 5))
INITS = ("ones", "zeros", 2, 0.5, True, "array")
SETTINGS = {
    "eps": (1e-3, 0.1, 1.0, 1e-12, 2.0, 0.0, 1),
    "momentum": (0.0, 1.0, 0.3, 0.99, 1, True),
    "affine": (False, True),
    "gamma_init": INITS,
    "beta_init": INITS,
    "moving_mean_init": INITS,
    "moving_var_init": INITS,
    "use_batch_statistics": (False, True, None),
}
CHANGES = {
    "momentum": (0.5, 0.0),
    "eps": (0.5,),
    "use_batch_statistics": (False, True, None),
}


def draw(choose: Chooser) -> Case:
    """Draw a case."""
    class_name, rank = choose.of(CLASSES)
    channels = choose.of((2, 1, 3, 5))
    arguments: dict[str, Any] = {"num_features": channels, **some(choose, SETTINGS)}
    for name, value in arguments.items():
        if isinstance(value, str) and value == "array":
            arguments[name] = np.linspace(0.5, 1.5, channels, dtype=np.float32)
    parameters = choose.of((*(None,) * 9, "float16", "float64"))
    if parameters is not None:
        arguments["dtype"] = as_dtype(parameters)
    dtype = choose.of((*("float32",) * 9, "float16", "float16", "bfloat16", "float64", "int32"))
    steps = tuple(step(choose, rank, channels) for _ in range(choose.of((1, 2, 3, 4))))
    loaded, seed = choose.of((False, True, True)), choose.of(range(10_000))
    return Case("mindspore", class_name, arguments, dtype, (1,), steps, loaded, seed)


def step(choose: Chooser, rank: int, channels: int) -> Step:
    """Draw a call of a layer."""
    sizes = [choose.of(SIZES if axis else BATCH) for axis in range(rank - 1)]
    return Step(
        (sizes[0], channels, *sizes[1:]),
        training=choose.of((True, True, False)),
        changes=changes(choose, CHANGES),
        layout=choose.of(LAYOUTS),
        gradient=choose.of((True, True, True, False)),
    )
