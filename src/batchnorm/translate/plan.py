"""The plan of one translation: the target's arguments, and what remains different.

One plan serves values (live layers), calls in text and source rewriting alike, because an argument
is both at once. Making a plan runs nothing but the target's own checks of its arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from batchnorm.errors import BatchNormError, InvalidValue
from batchnorm.layer import Layer
from batchnorm.translate.argument import Argument
from batchnorm.translate.canonical import Canonical
from batchnorm.translate.departures import departures
from batchnorm.translate.difference import Difference
from batchnorm.translate.facts import facts
from batchnorm.translate.form import Dialect, Form, form, forms
from batchnorm.translate.losses import losses
from batchnorm.translate.objects import STAND_INS
from batchnorm.translate.reading import read
from batchnorm.translate.task import Task, channel_position
from batchnorm.translate.writing import write

__all__ = ["Plan", "Side", "make_plan"]

# The dialects' own errors, and what Python itself says to an argument that is no number.
_REFUSALS = (BatchNormError, TypeError, ValueError, LookupError, ArithmeticError)
_DEFAULT_RANK = {"BatchNorm1d": 3, "LazyBatchNorm1d": 3}


@dataclass(frozen=True)
class Side:
    """One side of a translation: a form, its call's arguments, and what they mean."""

    form: Form
    arguments: Mapping[str, Argument]
    canonical: Canonical

    @property
    def text(self) -> str:
        """The call, with positional arguments only where a parameter has no default."""
        return self.call()

    def call(self, prefix: str | None = None) -> str:
        """The call, with any prefix before the class."""
        prefix = self.form.dialect.prefix if prefix is None else prefix
        shown = [
            argument.text if self.form.parameters[name].required else f"{name}={argument.text}"
            for name, argument in self.arguments.items()
        ]
        return f"{prefix}{self.form.class_name}({', '.join(shown)})"

    def values(self) -> dict[str, object]:
        """The arguments' values, stand-ins for what is no literal, as our layer takes them."""
        own = self.form.layer.PARAMETERS
        known = {name: a.value for name, a in self.arguments.items() if name in own}
        known.pop("device", None)  # arrays are NumPy's, on the CPU
        if "num_features" in own and "num_features" not in known:
            known["num_features"] = STAND_INS["num_features"]
        if self.form.dialect.is_keras:
            known.pop("name", None)
        return known

    def layer(self) -> Layer:
        """Our layer with these arguments."""
        return self.form.layer(**self.values())

    def built(self, rank: int, channels: int) -> Layer:
        """Our layer with its state, for inputs of a rank and with so many channels."""
        layer: Any = self.layer()
        if self.form.dialect.is_keras:
            axis = self.canonical["channel_axis"].value
            shape = [2] * rank
            for place in [axis] if isinstance(axis, int) else axis:
                shape[place] = channels
            layer.build(tuple(shape))
        return layer  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Plan:
    """How a call is written for another framework.

    Attributes:
        source: what was given.
        target: what it becomes.
        rank: of the inputs that both are for.
        differences: what remains different, in the order of the canonical arguments.
    """

    source: Side
    target: Side
    rank: int
    differences: tuple[Difference, ...]

    @property
    def channels(self) -> int:
        """The number of channels; what stands in for it where nobody says it."""
        for side in (self.target, self.source):
            size = side.values().get("num_features", side.canonical["num_features"].value)
            if isinstance(size, int):
                return size
        return int(STAND_INS["num_features"])

    @property
    def axes(self) -> tuple[int, int]:
        """Where the source and the target have the channels, counted from the front."""
        places = [
            channel_position(side.canonical["channel_axis"].value, self.rank)
            for side in (self.source, self.target)
        ]
        return places[0] or 0, places[1] or 0

    @cached_property
    def lazy(self) -> str | None:
        """The torch call that finds its number of channels by itself, where none is known."""
        target = self.target
        if "num-features" not in {d.key for d in self.differences}:
            return None
        lazy = forms(target.form.dialect).get(f"Lazy{target.form.class_name}")
        if lazy is None:
            return None
        rest = {name: a for name, a in target.arguments.items() if name != "num_features"}
        return Side(lazy, rest, target.canonical).text


def make_plan(
    source: Form,
    arguments: Mapping[str, Argument],
    to: Dialect,
    *,
    rank: int | None = None,
    num_features: int | None = None,
    data_format: str | None = None,
) -> Plan:
    """Plan the translation of one call.

    Args:
        source: the class that is called.
        arguments: the arguments written, by parameter name.
        to: the target dialect.
        rank: of the inputs, where the class doesn't say it (default: 4).
        num_features: the number of channels, where the call doesn't say it.
        data_format: "NHWC" for MindSpore on GPU, which keeps channels last where they are.

    Raises:
        ValueError: the rank doesn't fit the class, or the source refuses its own arguments.
    """
    try:
        canonical = read(source, arguments)
    except _REFUSALS as error:
        raise _refused(source.dialect, error) from error
    rank = _rank(source, arguments, rank)
    target = form(to, rank)
    synchronized = forms(to).get("SyncBatchNorm")
    if canonical["synchronized"].value is True and synchronized is not None:
        target = synchronized
    task = Task(source, target, rank, canonical, num_features, data_format)
    written = write(task)
    again = read(target, written)
    ours, theirs = Side(source, arguments, canonical), Side(target, written, again)
    differences = [
        *losses(task, again),
        *departures(task, again, facts(source.dialect, canonical, rank), facts(to, again, rank)),
    ]
    made = Plan(ours, theirs, rank, tuple(differences))
    return replace(made, differences=(*differences, *_refusals(made)))


def _rank(source: Form, arguments: Mapping[str, Argument], rank: int | None) -> int:
    if source.ranks:
        known = _DEFAULT_RANK.get(source.class_name, 4 if source.synchronized else source.ranks[0])
        if rank is not None and rank not in source.ranks:
            expected = " or ".join(map(str, source.ranks))
            raise InvalidValue(f"{source.class_name} takes inputs of rank {expected}, not {rank}")
        return rank or known
    shape = arguments.get("input_shape")
    if rank is None and shape is not None and isinstance(shape.value, tuple | list):
        return len(shape.value) + 1
    return rank or 4


def _refusals(made: Plan) -> list[Difference]:
    """What the target's own checks refuse; the source's refusals are the user's mistakes."""
    try:
        made.source.built(made.rank, made.channels)
    except _REFUSALS as error:
        raise _refused(made.source.form.dialect, error) from error
    try:
        made.target.built(made.rank, made.channels)
    except _REFUSALS as error:
        name = made.target.form.dialect.name
        return [Difference("refused", "inexpressible", f"{name} refuses this call: {error}")]
    return []


def _refused(source: Dialect, error: Exception) -> InvalidValue:
    return InvalidValue(f"{source.name} itself refuses this call: {error}")
