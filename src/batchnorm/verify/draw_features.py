"""Cases of the layers that are told their number of features: BatchNorm1d, 2d and 3d.

What is drawn from stands in the rooms (`samples.py`); nothing here says how the layers should
behave.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from batchnorm.frameworks import find
from batchnorm.verify.draw import BATCH, LAYOUTS, SIZES, Case, Chooser, Step, changes, sized, some
from batchnorm.vocabulary import as_dtype

__all__ = ["draw", "step"]


def draw(choose: Chooser, dialect: str) -> Case:
    """Draw a case."""
    samples = find(dialect).room("samples")
    class_name, rank = choose.of(samples.CLASSES)
    channels = choose.of((2, 1, 3, 5))
    arguments: dict[str, Any] = {**sized(dialect, channels), **some(choose, samples.SETTINGS)}
    for name, value in arguments.items():
        if isinstance(value, str) and value == "array":
            arguments[name] = np.linspace(0.5, 1.5, channels, dtype=np.float32)
    parameters = choose.of(samples.PARAMETERS)
    if parameters is not None:
        arguments["dtype"] = as_dtype(parameters)
    dtype = choose.of(samples.inputs(parameters))
    steps = tuple(step(choose, samples, rank, channels) for _ in range(choose.of((1, 2, 3, 4))))
    loaded, seed = choose.of((False, True, True)), choose.of(range(10_000))
    return Case(dialect, class_name, arguments, dtype, (1,), steps, loaded, seed)


def step(choose: Chooser, samples: ModuleType, rank: int, channels: int) -> Step:
    """Draw a call of a layer."""
    sizes = [choose.of(SIZES if axis else BATCH) for axis in range(rank - 1)]
    return Step(
        (sizes[0], channels, *sizes[1:]),
        training=choose.of((True, True, False)),
        changes=changes(choose, samples.CHANGES),
        layout=choose.of(LAYOUTS),
        gradient=choose.of((True, True, True, False)),
    )
