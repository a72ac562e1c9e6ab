"""A case played on a subject: what it is made to do, and every observation in order.

The same function plays it on the real framework and, following that one's states, on ours; it
knows neither, and compares nothing (`compare.py` does).
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from batchnorm.frameworks import find
from batchnorm.questions.subject import LayerUnderTest, Raised, Subject
from batchnorm.verify.draw import Case, data, initial
from batchnorm.vocabulary import Array

__all__ = ["Observation", "play", "state_at"]


class Observation(NamedTuple):
    """Something seen: where ("step 2: y"), and what: an array, a plain value or `Raised`."""

    place: str
    value: Any


def play(
    subject: Subject,
    case: Case,
    *,
    attributes: bool = True,
    following: Sequence[Observation] = (),
) -> list[Observation]:
    """Play a case; what is raised is observed, and ends only what can't go on.

    Args:
        subject: who plays it.
        case: what is played.
        attributes: whether attributes are read from the layer in the end, and it is printed.
        following: what another subject was seen to do. After each step the layer gets the state
            that the other had there, so that both start the next one alike: a state may be off by
            what rounding does, and the next step be compared within its own bounds.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ours; a framework's stay in its process
        return list(_observations(subject, case, attributes, following))


def _observations(
    subject: Subject, case: Case, attributes: bool, following: Sequence[Observation]
) -> Iterator[Observation]:
    try:
        layer = subject.layer(case.class_name, *case.positional, **case.arguments)
    except Raised as raised:
        yield Observation("constructor", raised)
        return
    if case.loaded and find(case.dialect).is_keras:  # otherwise the first call builds it
        try:
            layer.build(case.steps[0].shape)
        except Raised as raised:
            yield Observation("build", raised)
            return
    yield from _state(layer, "new layer")
    if case.loaded:
        names = layer.state()
        layer.load_state({name: initial(case, name, value) for name, value in names.items()})
        yield from _state(layer, "loaded layer")
    for number in range(len(case.steps)):
        yield from _step(layer, case, number)
        followed = state_at(following, f"step {number + 1}")
        kinds = {value.dtype.kind for value in followed.values()}
        if not kinds & set(find(case.dialect).room("samples").UNFOLLOWED):
            _follow(layer, followed)
    if not attributes:
        return
    samples = find(case.dialect).room("samples")
    for name in samples.ATTRIBUTES:
        path = inner(case, name)
        yield _observed(f"attribute {path}", functools.partial(layer.get, path))
    if samples.IS_PRINTED:
        yield _observed("repr", layer.repr)


def _step(layer: LayerUnderTest, case: Case, number: int) -> Iterator[Observation]:
    step, at = case.steps[number], f"step {number + 1}"
    for name, value in step.changes:
        try:
            layer.set(inner(case, name), value)
        except Raised as raised:
            yield Observation(f"{at}: setting {name}", raised)
    x, dy, mask = data(case, number)
    call: dict[str, Any] = {**dict(step.call), **({} if mask is None else {"mask": mask})}
    try:
        if find(case.dialect).is_keras:
            call["training"] = step.training
        else:
            layer.train(step.training)
        run = layer.run(x, dy, **call)
    except Raised as raised:
        yield Observation(f"{at}: call", raised)
    else:
        yield Observation(f"{at}: y", run.y)
        if dy is not None:
            yield Observation(f"{at}: dx", run.dx)
            for name in sorted(n for n, value in run.gradients.items() if value is not None):
                yield Observation(f"{at}: gradient of {name}", run.gradients[name])
    yield from _state(layer, at)


def _follow(layer: LayerUnderTest, state: Mapping[str, Array]) -> None:
    """Load another layer's state where this one has the same entries in other values."""
    own = layer.state() if state else {}
    shapes = [{name: v.shape for name, v in each.items()} for each in (own, state)]
    if shapes[0] == shapes[1] and any(
        not np.array_equal(own[name], value, equal_nan=True) for name, value in state.items()
    ):
        layer.load_state(state)


def state_at(observations: Sequence[Observation], step: str) -> dict[str, Array]:
    """The state that was seen at a step ("step 2")."""
    start = f"{step}: state "
    found = (o for o in observations if o.place.startswith(start))
    return {o.place.removeprefix(start): o.value for o in found}


def inner(case: Case, name: str) -> str:
    """Say where a layer keeps an attribute: BatchNorm3d of MindSpore has a layer inside."""
    inside = find(case.dialect).room("samples").INSIDE.get(case.class_name)
    return f"{inside}.{name}" if inside else name


def _state(layer: LayerUnderTest, at: str) -> Iterator[Observation]:
    for name, value in layer.state().items():
        yield Observation(f"{at}: state {name}", np.asarray(value))


def _observed(place: str, look: Callable[[], Any]) -> Observation:
    try:
        return Observation(place, look())
    except Raised as raised:
        return Observation(place, raised)
