"""Cases of BatchNormalization, of either Keras.

Nothing here says how the layers should behave. Shapes follow from the settings: virtual batches
divide the batch in training, and a batch keeps the lengths of the channel axes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from batchnorm.frameworks import find
from batchnorm.questions.subject import Adjustment
from batchnorm.verify.draw import BATCH, LAYOUTS, SIZES, Case, Chooser, Step, changes, some

__all__ = ["draw", "draw_shape", "step"]

MAX_VALUES = 600  # of one input: rank 6 has many otherwise
CLIPPING: tuple[dict[str, float], ...] = (
    {"rmax": 3.0, "rmin": 0.3, "dmax": 5.0},
    {"rmax": 1.1, "rmin": 0.9, "dmax": 0.1},
    {"rmax": 1.0},
    {"rmin": 1.0},
    {"dmax": 0.0},
    {"rmax": 0.5, "rmin": 2.0},
    {"dmax": -1.0},
    {},
    {"bad": 1.0},
)
INITIALIZERS = ("ones", "zeros", {"class_name": "Constant", "config": {"value": 0.5}})
REGULARIZERS = ("l2", {"class_name": "L1", "config": {"l1": 0.1}}, None)
SETTINGS = {
    "momentum": (0.9, 0.0, 1.0, 0.3, 0.5, 1, -0.5, 2.0),
    "epsilon": (1e-5, 0.1, 1.0, 1e-12, 2.5),
    "center": (False, True, 0),
    "scale": (False, True, 0),
    "beta_initializer": INITIALIZERS,
    "gamma_initializer": INITIALIZERS,
    "moving_mean_initializer": INITIALIZERS,
    "moving_variance_initializer": ("ones", INITIALIZERS[2]),
    "beta_regularizer": REGULARIZERS,
    "gamma_regularizer": REGULARIZERS,
}
CHANGES = {"momentum": (0.5, 0.0, 1.0), "epsilon": (0.5, 1e-5), "trainable": (False, True)}
DTYPES = ("float64", "float16", "bfloat16", "mixed_float16", "mixed_bfloat16", "float32")


def draw(choose: Chooser, dialect: str) -> Case:
    """Draw a case."""
    record = find(dialect)
    rank = choose.of((4, 2, 3, 5, 1, 6))
    axis = choose.of((rank - 1, -1, 1, *range(-rank, rank)))
    arguments: dict[str, Any] = {"axis": axis, **some(choose, SETTINGS)}
    if record.calls.many_axes and choose.of((False,) * 6 + (True,)):
        arguments["axis"] = [*dict.fromkeys((axis, choose.of(range(rank))))]
    axes = _channel_axes(arguments["axis"], rank)
    if choose.of((False, True)):
        arguments["dtype"] = choose.of(DTYPES)
    if choose.of((False,) * 5 + (True,)):
        arguments["trainable"] = choose.of((False, True))
    if choose.of((False, False, True)):
        arguments.update(_renorm(choose))
    shape = draw_shape(choose, rank)
    if "virtual_batch_size" in record.layer_class.PARAMETERS:
        arguments.update(_only_in_keras_2(choose, shape, axes, arguments.get("dtype")))
    elif choose.of((False,) * 9 + (True,)):
        arguments["synchronized"] = True
    dtype = choose.of(
        (*("float32",) * 7, "float64", "float16", "bfloat16", "int32", "uint8", "bool")
    )
    steps = tuple(step(choose, shape, axes, arguments) for _ in range(choose.of((1, 2, 3, 4))))
    loaded, seed = choose.of((False, True, True)), choose.of(range(10_000))
    return Case(dialect, "BatchNormalization", arguments, dtype, axes, steps, loaded, seed)


def _channel_axes(axis: int | Sequence[int], rank: int) -> tuple[int, ...]:
    given = [axis] if isinstance(axis, int) else axis
    return tuple(sorted({a % rank for a in given}))


def draw_shape(choose: Chooser, rank: int) -> list[int]:
    """Draw the lengths of an input's axes."""
    shape = [choose.of(SIZES) for _ in range(rank)]
    while math.prod(shape) > MAX_VALUES:
        shape[shape.index(max(shape))] = 2
    return shape


def _renorm(choose: Chooser) -> dict[str, Any]:
    rest = {"renorm_clipping": CLIPPING, "renorm_momentum": (0.5, 0.0, 1.0, 0.9)}
    return {"renorm": choose.of((True, True, True, False)), **some(choose, rest)}


def _only_in_keras_2(
    choose: Chooser, shape: list[int], axes: tuple[int, ...], dtype: str | None
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if choose.of((False, False, True)):
        found["fused"] = choose.of((False, True, None))
    if choose.of((False,) * 4 + (True,)):
        found["virtual_batch_size"] = choose.of((2, 1, 3, 4))
    if choose.of((False,) * 4 + (True,)):
        per_channel = [n if axis in axes else 1 for axis, n in enumerate(shape)]
        rng = np.random.default_rng(choose.of(range(100)))
        # TensorFlow multiplies these with gamma, and never converts one for the other.
        own = np.dtype("float64" if dtype == "float64" else "float32")
        scale = rng.uniform(0.5, 1.5, per_channel).astype(own)
        found["adjustment"] = Adjustment(scale, scale - own.type(1))
    if choose.of((False,) * 9 + (True,)):
        found["synchronized"] = True
    return found


def step(choose: Chooser, shape: list[int], axes: tuple[int, ...], arguments: Any) -> Step:
    """Draw a call of a layer built for a shape, whose other lengths than the batch's stay."""
    training = choose.of((True, True, True, False, None, 1, 0, 2, np.True_))
    shape = list(shape)
    if 0 not in axes:
        shape[0] = choose.of((shape[0], *BATCH))
        size = arguments.get("virtual_batch_size")
        if training and size is not None and choose.of((True, True, True, False)):
            shape[0] = size * max(1, shape[0] // size)  # else perhaps one that doesn't divide
    masks = ("",) * 6 + ("some", "all", "none", "weights")
    return Step(
        tuple(shape),
        training=training,
        changes=changes(choose, CHANGES),
        mask=choose.of(masks) if len(shape) > 1 else "",
        layout=choose.of(LAYOUTS),
        gradient=choose.of((True, True, True, False)),
    )
