"""Which values of two sides' parameters do the same, found by making layers with all of them.

Three things are said with different parameters by different frameworks: whether gamma and beta
exist and are trained, which statistics are used, and which axis is the channels'.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from batchnorm.declaration import Parameter
from batchnorm.explain.sections import modes
from batchnorm.explain.sides import Side
from batchnorm.explain.words import Lang, label, say
from batchnorm.layer import Layer
from batchnorm.questions.question import Text

__all__ = ["ASPECTS_BY_EFFECT", "axis_of", "by_aspect", "correspondence", "new_dtypes"]

# Words of the glossary that answer one question together.
ASPECTS: Mapping[str, tuple[str, ...]] = {
    "momentum": ("weight_of_batch", "weight_of_running"),
    "affine": ("affine", "beta_if_affine", "train_affine", "has_gamma", "has_beta"),
    "statistics": ("tracking", "forced_statistics", "trainable"),
    "axis": ("channel_axis", "data_format"),
    "dtype": ("parameter_dtype", "dtype_policy"),
}
ASPECTS_BY_EFFECT = ("affine", "statistics", "axis")
VALUES: Mapping[str, tuple[Any, ...]] = {
    "forced_statistics": (None, True, False),
    "channel_axis": (-1, 1),
    "data_format": ("NCHW", "NHWC"),
}

SAME: Mapping[str, Text] = {
    "affine": Text("the same: {pairs}"),
    "statistics": Text("the same statistics in both modes: {pairs}"),
    "axis": Text("the same axis of rank 4: {pairs}"),
}
ALWAYS = Text("{side} as it always is")
DEFAULT_AXES = Text("defaults differ: channels on axis {a} and {b} of rank 4; {what}")
WRITE = Text("to keep {side}'s, write `{values}`")
MOVE = Text("{other} has no other axis: move the channels before and after the layer")
NHWC = Text("MindSpore runs `NHWC` on a GPU only: see [layouts](#channels-last-on-cpu)")
NONE = Text("in {side} only: {values}")


def by_aspect(side: Side) -> dict[str, list[Parameter]]:
    """The constructor's parameters by what they say; most aspects have one."""
    found: dict[str, list[Parameter]] = {}
    for parameter in side.parameters.values():
        word = parameter.meaning.word
        shared = (aspect for aspect, words in ASPECTS.items() if word in words)
        found.setdefault(next(shared, str(parameter.meaning)), []).append(parameter)
    return found


def correspondence(a: Side, b: Side, aspect: str, lang: Lang) -> list[str]:
    """Lines on which values of both sides' parameters do the same, and which have no match."""
    ours, theirs = _by_effect(a, aspect), _by_effect(b, aspect)
    pairs = []
    for effect in ours:
        if effect in theirs:
            one = f"`{ours[effect]}`" if ours[effect] else say(ALWAYS, lang, side=label(a, b))
            other = f"`{theirs[effect]}`" if theirs[effect] else say(ALWAYS, lang, side=label(b, a))
            pairs.append(f"{one} ↔ {other}")
    lines = [say(SAME[aspect], lang, pairs="; ".join(pairs))] if pairs else []
    for side, there, own, others in ((a, b, ours, theirs), (b, a, theirs, ours)):
        alone = [f"`{shown}`" for effect, shown in own.items() if effect not in others and shown]
        if alone:
            lines.append(say(NONE, lang, side=label(side, there), values="; ".join(alone)))
    if aspect == "axis":
        lines += _default_axes(a, b, theirs, lang)
    return lines


def _default_axes(a: Side, b: Side, theirs: Mapping[Hashable, str], lang: Lang) -> list[str]:
    """What to write on the other side for the same axis, where the defaults aren't it."""
    own, other = _axis(a, {}), _axis(b, {})
    lines = []
    if own != other:
        write = say(WRITE, lang, side=label(a, b), values=theirs.get(own))
        what = write if theirs.get(own) else say(MOVE, lang, other=label(b, a))
        lines.append(say(DEFAULT_AXES, lang, a=own, b=other, what=what))
    if any(p.meaning.word == "data_format" for side in (a, b) for p in side.parameters.values()):
        lines.append(say(NHWC, lang))
    return lines


def axis_of(layer: Layer) -> int:
    """A layer's channel axis of an input of rank 4, whose axes are all 3 long."""
    (axis,) = layer.decide((3, 3, 3, 3), "float32", training=False).settings.channel_axes
    return axis


def new_dtypes(side: Side) -> set[str]:
    """The types of a new layer's parameters and statistics, the counter of batches apart."""
    layer = side.layer()
    layer(_x())
    return {array.dtype.name for array in layer.state.values() if array.ndim}


def _by_effect(side: Side, aspect: str) -> dict[Hashable, str]:
    """What can be had, and the shortest way to write each; empty where nothing is to write."""
    parameters = by_aspect(side).get(aspect, [])
    found: dict[Hashable, str] = {}
    best: dict[Hashable, int] = {}
    for combination in itertools.product(*(_values(p) for p in parameters)):
        given = list(zip(parameters, combination, strict=True))
        changed = [(p, value) for p, value in given if value != p.default]
        arguments = {p.name: value for p, value in given}
        effect = EFFECTS[aspect](side, arguments)
        shown = changed or given
        if effect not in best or len(changed) < best[effect]:
            best[effect] = len(changed)
            found[effect] = ", ".join(f"{p.name}={value!r}" for p, value in shown)
    return found


def _values(parameter: Parameter) -> Sequence[Any]:
    values = VALUES.get(parameter.meaning.word, (True, False))
    return sorted(values, key=lambda value: value != parameter.default)


def _affine(side: Side, arguments: Mapping[str, Any]) -> Hashable:
    """Whether gamma and beta are there, and get a gradient."""
    layer, x = side.layer(**arguments), _x()
    layer(x)
    layer.backward(np.ones_like(x))
    names = {entry.role: name for name, entry in side.layer_class.STATE.items()}
    found = []
    for role in ("gamma", "beta"):
        present = "kept" if names[role] in layer.state else "absent"
        found.append("trained" if names[role] in layer.gradients else present)
    return tuple(found)


def _statistics(side: Side, arguments: Mapping[str, Any]) -> Hashable:
    """The mode in training and in inference."""
    wanted = next(iter(arguments.values()), None)
    return tuple(
        mode
        for values, mode in modes.cases(side)
        if all(value == wanted for name, value in values.items() if name != "training")
    )


def _axis(side: Side, arguments: Mapping[str, Any]) -> Hashable:
    return axis_of(side.layer(**arguments))


def _x() -> Any:
    return np.arange(81, dtype=np.float32).reshape(3, 3, 3, 3)


EFFECTS = {"affine": _affine, "statistics": _statistics, "axis": _axis}
