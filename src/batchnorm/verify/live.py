"""Cases for one given layer: its settings and its state, with drawn modes, shapes and data.

The layer is one of ours; `batchnorm.read` makes one of a real framework's. It is never called
itself: the real layer and ours are both made anew from its settings, so it stays as it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from batchnorm.errors import InvalidValue
from batchnorm.frameworks import find
from batchnorm.layer import Layer
from batchnorm.verify import draw_features, draw_keras
from batchnorm.verify.draw import Case, Chooser, Seeded, Step, sized
from batchnorm.vocabulary import as_dtype

__all__ = ["draw_live", "live_cases"]

# What decides nothing once the state is loaded, or can't travel to another process.
LEFT_OUT = {
    *("init", "regularizer", "constraint", "initial_weights"),
    *("input_shape", "housekeeping", "device", "name"),
}


def live_cases(layer: Layer, examples: int, seed: int) -> Iterator[Case]:
    """Draw cases for a layer."""
    for number in range(examples):
        yield draw_live(Seeded("live", seed, layer.FRAMEWORK, number), layer)


def draw_live(choose: Chooser, layer: Layer) -> Case:
    """Draw a case for a layer.

    Raises:
        ValueError: it has an `adjustment`: a function can't be sent to another process.
    """
    given = layer.arguments()
    kept = [n for n, p in layer.PARAMETERS.items() if p.meaning.word not in LEFT_OUT]
    arguments = {name: given[name] for name in kept if name in given}
    if arguments.pop("adjustment", None) is not None:
        raise InvalidValue("a layer with an adjustment, a function, can't be verified elsewhere")
    keras = find(layer.FRAMEWORK).is_keras
    build = _keras_case if keras else _other_case
    case = build(choose, layer, arguments)
    state = layer.state if not keras or getattr(layer, "built", False) else {}
    return dataclasses.replace(case, loaded=bool(state), state=state, seed=choose.of(range(10_000)))


def _other_case(choose: Chooser, layer: Layer, arguments: dict[str, Any]) -> Case:
    samples = find(layer.FRAMEWORK).room("samples")
    class_name = type(layer).__name__
    rank = choose.of([rank for name, rank in samples.CLASSES if name == class_name])
    (channels,) = (arguments[name] for name in sized(layer.FRAMEWORK, 0))
    dtype = arguments.get("dtype")
    if dtype is not None:
        arguments["dtype"] = as_dtype(dtype)
    steps = [
        draw_features.step(choose, samples, rank, channels) for _ in range(choose.of((1, 2, 3)))
    ]
    # The layer's own settings are the question, so none changes; a buffer that is gone stays gone.
    gone = [n for n in type(layer).STATE if n.startswith("running") and getattr(layer, n) is None]
    if not arguments.get("track_running_stats", True):
        gone = []
    steps = [dataclasses.replace(step, changes=()) for step in steps]
    steps[0] = dataclasses.replace(steps[0], changes=tuple((name, None) for name in gone))
    own = as_dtype(dtype or "float32").name
    return Case(layer.FRAMEWORK, class_name, arguments, own, (1,), tuple(steps))


def _keras_case(choose: Chooser, layer: Any, arguments: dict[str, Any]) -> Case:
    rank, lengths = layer._input_spec if layer.built else (choose.of((4, 2, 3, 5)), {})
    axes = [layer.axis] if isinstance(layer.axis, int) else list(layer.axis)
    if layer.built and arguments.get("virtual_batch_size") is not None:
        axes = [axis - 1 for axis in axes]  # a built layer counts the axis of ghost batches too
    arguments["axis"] = axes if find(layer.FRAMEWORK).calls.many_axes and len(axes) > 1 else axes[0]
    shape = draw_keras.draw_shape(choose, rank)
    for axis, length in lengths.items():
        shape[axis] = length
    channel_axes = tuple(sorted(axis % rank for axis in axes))
    drawn = [
        draw_keras.step(choose, shape, channel_axes, arguments) for _ in range(choose.of((1, 2, 3)))
    ]
    steps: tuple[Step, ...] = tuple(dataclasses.replace(step, changes=()) for step in drawn)
    kept = {name: value for name, value in arguments.items() if value is not None}
    return Case(layer.FRAMEWORK, "BatchNormalization", kept, "float32", channel_axes, steps)
