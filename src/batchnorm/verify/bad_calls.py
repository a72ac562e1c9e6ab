"""Calls at and beyond the edge of what the frameworks accept, each with a name.

Nothing here says what is raised, or whether anything is: each is a case like any other, played on
the real layer and on ours, and both must raise the same built-in class or give the same result.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from batchnorm.questions.subject import Adjustment
from batchnorm.verify.draw import Case, Step
from batchnorm.vocabulary import as_dtype

__all__ = ["bad_calls"]

NAN = float("nan")
SHAPE = (2, 3, 2, 2)
PLAIN = (Step(SHAPE),)
INFERENCE = (Step(SHAPE, training=False),)
ADJUSTMENT = Adjustment(np.ones(3, np.float32), np.zeros(3, np.float32))

# Values of one constructor parameter at a time.
TORCH: Mapping[str, tuple[Any, ...]] = {
    "num_features": (-1, 0, 1.5, True, None, "3", (3,), np.int64(3), 4),
    "eps": (0.0, -1e-5, None, "x", 1, True, NAN, float("inf")),
    "momentum": ("x", NAN, 1, True, [0.1]),
    "affine": ("x", 0, None),
    "bias": ("x", 0, None),
    "track_running_stats": ("x", 0, None),
    "dtype": (np.dtype("int32"), np.dtype("complex64"), "float32", np.dtype("float64")),
    "foo": (1,),
}
MINDSPORE: Mapping[str, tuple[Any, ...]] = {
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
TF_KERAS: Mapping[str, tuple[Any, ...]] = {
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
    "adjustment": (ADJUSTMENT,),
    "trainable": ("x", None, 0),
    "dtype": ("xx", "int32", "float64", "complex64", "mixed_float16", 1.5),
    "name": ("a/b", 3, ""),
    "weights": ([],),
    "autocast": (False,),
    "foo": (1,),
}
KERAS: Mapping[str, tuple[Any, ...]] = {
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
    "adjustment": (ADJUSTMENT,),
    "weights": ([],),
    "autocast": (False,),
    "foo": (1,),
}
# Several arguments together.
TOGETHER: Mapping[str, tuple[dict[str, Any], ...]] = {
    "tf_keras": (
        {"fused": True, "renorm": True},
        {"fused": True, "virtual_batch_size": 2},
        {"fused": True, "adjustment": ADJUSTMENT},
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
        {"virtual_batch_size": 2, "axis": 1, "adjustment": ADJUSTMENT},
        {"epsilon": None, "fused": False},
        {"epsilon": "x", "fused": False},
        {"momentum": None, "fused": False},
        {"axis": 1, "input_shape": (3, 2, 2), "foo": 1},
    ),
    "keras": (
        {"renorm": True, "renorm_clipping": {"bad": 1.0}},
        {"renorm": True, "renorm_clipping": {"rmax": 0.5, "rmin": 2.0}},
        {"renorm": True, "renorm_clipping": {"dmax": -1.0}},
        {"renorm": True, "renorm_clipping": {"rmax": "x"}},
        {"renorm": True, "renorm_momentum": None},
        {"renorm": True, "renorm_momentum": "0.5"},
    ),
}
VALUES = {"torch": TORCH, "mindspore": MINDSPORE, "tf_keras": TF_KERAS, "keras": KERAS}
MISFITS = ("another length", "a dimension more")
INPUTS = ("float64", "float16", "bfloat16", "int32", "uint8", "bool", "complex64")


def bad_calls(dialect: str) -> list[Case]:
    """Give the table of a dialect."""
    keras = dialect.endswith("keras")
    cases = [*_settings(dialect), *(_keras_inputs(dialect) if keras else _inputs(dialect))]
    if dialect == "torch":
        cases += _torch_states()
    return cases


def _case(dialect: str, name: str, steps: tuple[Step, ...] = PLAIN, **more: Any) -> Case:
    keras = dialect.endswith("keras")
    given: dict[str, Any] = {
        "class_name": "BatchNormalization" if keras else "BatchNorm2d",
        "arguments": {"axis": 1} if keras else {"num_features": 3},
        "dtype": "float32",
        "channel_axes": (1,),
        **more,
    }
    return Case(dialect, steps=steps, name=name, **given)


def _settings(dialect: str) -> Iterator[Case]:
    required = {} if dialect.endswith("keras") else {"num_features": 3}
    for parameter, values in VALUES[dialect].items():
        for value in values:
            for steps in (PLAIN, INFERENCE):
                mode = "training" if steps is PLAIN else "inference"
                array = isinstance(value, np.ndarray)
                text = f"{value.dtype} array {value.shape}" if array else repr(value)
                text = "a function" if isinstance(value, Adjustment) else text
                arguments = {**required, parameter: value}
                yield _case(dialect, f"{parameter}={text} in {mode}", steps, arguments=arguments)
    for arguments in TOGETHER.get(dialect, ()):
        shown = {k: "a function" if v is ADJUSTMENT else v for k, v in arguments.items()}
        yield _case(dialect, ", ".join(f"{k}={v!r}" for k, v in shown.items()), arguments=arguments)
    yield _case(dialect, "no arguments", arguments={})
    too_many = (3, *(None,) * 20)
    yield _case(dialect, "too many arguments", arguments={}, positional=too_many)
    unknown = (Step(SHAPE), Step(SHAPE, call=(("foo", 1),)))
    yield _case(dialect, "an unknown keyword of the call", unknown)


def _inputs(dialect: str) -> Iterator[Case]:
    for dtype in INPUTS:
        yield _case(dialect, f"input of {dtype}", dtype=dtype)
        yield _case(dialect, f"input of {dtype} in inference", INFERENCE, dtype=dtype)
    shapes = ((2, 3), (2, 3, 4), (3, 2, 2), SHAPE, (2, 3, 2, 2, 2), (3,), (), (2, 4, 2, 2))
    for class_name in ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d"):
        for shape in shapes:
            axes = (1,) if len(shape) > 1 else ()
            name = f"{class_name} on {shape}"
            yield _case(dialect, name, (Step(shape),), class_name=class_name, channel_axes=axes)
    for training in (True, False):
        steps = (Step((1, 3, 1, 1), training=training),)
        yield _case(dialect, f"one value per channel, training={training}", steps)
    for mode in ("x", 1, None):
        yield _case(dialect, f"mode {mode!r}", (Step(SHAPE, training=mode),))


def _torch_states() -> Iterator[Case]:
    for gone in ("running_mean", "running_var", "num_batches_tracked", "weight", "bias"):
        for training in (True, False):
            steps = (Step(SHAPE, training=training, changes=((gone, None),)),)
            yield _case("torch", f"{gone} = None, training={training}", steps)
    for training in (True, False):
        steps = (Step((1, 3, 1, 1), training=training),)
        arguments: dict[str, Any] = {"num_features": 3, "track_running_stats": False}
        name = f"one value per channel without buffers, training={training}"
        yield _case("torch", name, steps, arguments=arguments)
    for parameters in ("float16", "bfloat16", "float64"):
        for dtype in ("float16", "bfloat16", "float32", "float64"):
            arguments = {"num_features": 3, "dtype": as_dtype(parameters)}
            name = f"parameters of {parameters}, input of {dtype}"
            yield _case("torch", name, arguments=arguments, dtype=dtype)


def _keras_inputs(dialect: str) -> Iterator[Case]:
    for dtype in INPUTS:
        yield _case(dialect, f"input of {dtype}", dtype=dtype)
    for shape in ((), (3,), (2, 3), (2, 4, 2, 2), (2, 3, 2, 2, 2)):
        steps = (Step(SHAPE), Step(shape))
        yield _case(dialect, f"built for {SHAPE}, given {shape}", steps)
        last: dict[str, Any] = {"arguments": {}, "channel_axes": (len(shape) - 1,) if shape else ()}
        yield _case(dialect, f"axis=-1 on {shape}", (Step(shape),), **last)
    modes: tuple[Any, ...] = ("x", "", [], 1.0, 0.5, -1, (True,))
    for mode in modes:
        yield _case(dialect, f"training={mode!r}", (Step(SHAPE, training=mode),))
    fused: tuple[bool | None, ...] = (None, False) if dialect == "tf_keras" else (None,)
    for mask, training, choice in itertools.product(MISFITS, (True, False), fused):
        arguments = {"axis": -1, **({} if choice is None else {"fused": choice})}
        name = f"a mask of {mask}, training={training}, {arguments}"
        misfit = (Step(SHAPE, training=training, mask=mask),)
        yield _case(dialect, name, misfit, arguments=arguments, channel_axes=(3,))
    for name in ("momentum", "epsilon", "trainable"):
        yield _case(dialect, f"{name} = 'x' later", (Step(SHAPE, changes=((name, "x"),)),))
