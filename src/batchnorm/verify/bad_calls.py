"""Calls at and beyond the edge of what the frameworks accept, each with a name.

The values stand in the rooms (`samples.py`). Nothing here says what is raised, or whether anything
is: each is a case like any other, played on the real layer and on ours, and both must raise the
same built-in class or give the same result.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from batchnorm.frameworks import find
from batchnorm.questions.subject import Adjustment
from batchnorm.verify.draw import Case, Step, sized
from batchnorm.vocabulary import as_dtype

__all__ = ["bad_calls"]

SHAPE = (2, 3, 2, 2)
PLAIN = (Step(SHAPE),)
INFERENCE = (Step(SHAPE, training=False),)
FUNCTION = "a function"  # what the tables have for the adjustment
ADJUSTMENT = Adjustment(np.ones(3, np.float32), np.zeros(3, np.float32))

MISFITS = ("another length", "a dimension more")
INPUTS = ("float64", "float16", "bfloat16", "int32", "uint8", "bool", "complex64")


def bad_calls(dialect: str) -> list[Case]:
    """Give the table of a dialect."""
    keras = find(dialect).is_keras
    cases = [*_settings(dialect), *(_keras_inputs(dialect) if keras else _inputs(dialect))]
    if not keras and find(dialect).room("samples").STATES:
        cases += _states(dialect)
    return cases


def _case(dialect: str, name: str, steps: tuple[Step, ...] = PLAIN, **more: Any) -> Case:
    record = find(dialect)
    given: dict[str, Any] = {
        "class_name": record.class_name,
        "arguments": {"axis": 1} if record.is_keras else sized(dialect, 3),
        "dtype": "float32",
        "channel_axes": (1,),
        **more,
    }
    return Case(dialect, steps=steps, name=name, **given)


def _settings(dialect: str) -> Iterator[Case]:
    required = sized(dialect, 3)
    samples = find(dialect).room("samples")
    for parameter, values in samples.VALUES.items():
        for value in map(_made, values):
            for steps in (PLAIN, INFERENCE):
                mode = "training" if steps is PLAIN else "inference"
                array = isinstance(value, np.ndarray)
                text = f"{value.dtype} array {value.shape}" if array else repr(value)
                text = FUNCTION if isinstance(value, Adjustment) else text
                arguments = {**required, parameter: value}
                yield _case(dialect, f"{parameter}={text} in {mode}", steps, arguments=arguments)
    for table in samples.TOGETHER:
        arguments = {name: _made(value) for name, value in table.items()}
        shown = {k: FUNCTION if v is ADJUSTMENT else v for k, v in arguments.items()}
        yield _case(dialect, ", ".join(f"{k}={v!r}" for k, v in shown.items()), arguments=arguments)
    yield _case(dialect, "no arguments", arguments={})
    too_many = (3, *(None,) * 20)
    yield _case(dialect, "too many arguments", arguments={}, positional=too_many)
    unknown = (Step(SHAPE), Step(SHAPE, call=(("foo", 1),)))
    yield _case(dialect, "an unknown keyword of the call", unknown)


def _made(value: Any) -> Any:
    return ADJUSTMENT if isinstance(value, str) and value == FUNCTION else value


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


def _states(dialect: str) -> Iterator[Case]:
    for gone in find(dialect).room("samples").STATES:
        for training in (True, False):
            steps = (Step(SHAPE, training=training, changes=((gone, None),)),)
            yield _case(dialect, f"{gone} = None, training={training}", steps)
    for training in (True, False):
        steps = (Step((1, 3, 1, 1), training=training),)
        arguments: dict[str, Any] = {**sized(dialect, 3), "track_running_stats": False}
        name = f"one value per channel without buffers, training={training}"
        yield _case(dialect, name, steps, arguments=arguments)
    for parameters in ("float16", "bfloat16", "float64"):
        for dtype in ("float16", "bfloat16", "float32", "float64"):
            arguments = {**sized(dialect, 3), "dtype": as_dtype(parameters)}
            name = f"parameters of {parameters}, input of {dtype}"
            yield _case(dialect, name, arguments=arguments, dtype=dtype)


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
    fused: tuple[bool | None, ...] = (None,)
    if "fused" in find(dialect).layer_class.PARAMETERS:
        fused = (None, False)
    for mask, training, choice in itertools.product(MISFITS, (True, False), fused):
        arguments = {"axis": -1, **({} if choice is None else {"fused": choice})}
        name = f"a mask of {mask}, training={training}, {arguments}"
        misfit = (Step(SHAPE, training=training, mask=mask),)
        yield _case(dialect, name, misfit, arguments=arguments, channel_axes=(3,))
    for name in ("momentum", "epsilon", "trainable"):
        yield _case(dialect, f"{name} = 'x' later", (Step(SHAPE, changes=((name, "x"),)),))
