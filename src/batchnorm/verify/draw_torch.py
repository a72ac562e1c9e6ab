"""Cases of torch.nn.BatchNorm1d, 2d and 3d. Nothing here says how the layer should behave."""

from __future__ import annotations

from typing import Any

from batchnorm.verify.draw import BATCH, LAYOUTS, SIZES, Case, Chooser, Step, changes, some
from batchnorm.vocabulary import as_dtype

__all__ = ["CLASSES", "draw", "step"]

CLASSES = (("BatchNorm2d", 4), ("BatchNorm1d", 2), ("BatchNorm1d", 3), ("BatchNorm3d", 5))
MOMENTA = (None, 0.0, 1.0, 0.3, 0.01, 1, True, -0.5, 2.0)
SETTINGS = {
    "eps": (1e-3, 0.1, 1.0, 1e-12, 2.5, 0.0, -1e-5),
    "momentum": MOMENTA,
    "affine": (False, True, 1, 0),
    "track_running_stats": (False, True, 0),
    "bias": (False, True, 1),
}
CHANGES = {
    "momentum": MOMENTA,
    "eps": (0.5, 1e-5, 0.0),
    "track_running_stats": (False, True),
}


def draw(choose: Chooser) -> Case:
    """Draw a case."""
    class_name, rank = choose.of(CLASSES)
    channels = choose.of((2, 1, 3, 5))
    arguments: dict[str, Any] = {"num_features": channels, **some(choose, SETTINGS)}
    parameters = choose.of((None, None, None, "float64", "float16", "bfloat16"))
    if parameters is not None:
        arguments["dtype"] = as_dtype(parameters)
    same = parameters or "float32"
    dtype = choose.of((*(same,) * 9, "float16", "bfloat16", "float64", "int32"))
    steps = tuple(step(choose, rank, channels) for _ in range(choose.of((1, 2, 3, 4))))
    loaded, seed = choose.of((False, True, True)), choose.of(range(10_000))
    return Case("torch", class_name, arguments, dtype, (1,), steps, loaded, seed)


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
