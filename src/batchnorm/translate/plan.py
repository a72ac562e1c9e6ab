"""The plan of one translation: the target's arguments, and what remains different.

One plan serves values (live layers), calls in text and source rewriting alike, because an argument
is both at once. Making a plan runs nothing but the target's own checks of its arguments.

A flag that is an expression must be right for each value that it can have: a stand-in has one, for
which a call can be right by luck. So the call is planned again with each value in the flag's place,
and the call that was written is checked against those.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from batchnorm.errors import BatchNormError, InvalidValue
from batchnorm.frameworks import Framework
from batchnorm.layer import Layer
from batchnorm.translate.argument import Argument, literal_value
from batchnorm.translate.canonical import NEUTRAL, Canonical
from batchnorm.translate.departures import departures
from batchnorm.translate.difference import Difference
from batchnorm.translate.facts import facts
from batchnorm.translate.form import Form, form, forms
from batchnorm.translate.losses import losses
from batchnorm.translate.objects import STAND_INS
from batchnorm.translate.reading import read
from batchnorm.translate.task import Task, channel_position
from batchnorm.translate.writing import write

__all__ = ["Plan", "Side", "make_plan"]

# The dialects' own errors, and what Python itself says to an argument that is no number.
_REFUSALS = (BatchNormError, TypeError, ValueError, LookupError, ArithmeticError)
MANY = 64
"""Channels that suffice for a proof: more would only take longer."""
_BOTH, _THREE = (True, False), (True, False, None)
_FLAGS = {
    **dict.fromkeys(("affine", "beta_if_affine", "train_affine", "tracking"), _BOTH),
    **dict.fromkeys(("has_gamma", "has_beta", "trainable"), _BOTH),
    "forced_statistics": _THREE,
}
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

    def values(self, channels: int | None = None) -> dict[str, object]:
        """The arguments' values, stand-ins for what is no literal, as our layer takes them.

        `channels` takes the place of the number of channels, where the class is told one.
        """
        own = self.form.layer.PARAMETERS
        known = {name: a.value for name, a in self.arguments.items() if name in own}
        known.pop("device", None)  # arrays are NumPy's, on the CPU
        if "num_features" in own:
            known.setdefault("num_features", STAND_INS["num_features"])
            if channels is not None:
                known["num_features"] = channels
        if self.form.dialect.is_keras:
            known.pop("name", None)
        return known

    def built(self, rank: int, channels: int) -> Layer:
        """Our layer with its state, for inputs of a rank and with so many channels."""
        layer: Any = self.form.layer(**self.values(channels))
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
        cases: the plans with each value of a flag that is an expression.
    """

    source: Side
    target: Side
    rank: int
    differences: tuple[Difference, ...]
    cases: tuple[Plan, ...] = ()

    @property
    def channels(self) -> int:
        """The number of channels that is run: what stands in where nobody says it, or for many."""
        said = self._num_features
        if said is None:
            return int(STAND_INS["num_features"])
        return int(said.value) if self._per_channel else min(int(said.value), MANY)

    @property
    def num_features(self) -> int:
        """The number of channels that is meant, however many are run."""
        said = self._num_features
        return self.channels if said is None else int(said.value)

    @property
    def stand_ins(self) -> dict[str, object]:
        """What was written, and what stands for it when the plan is run."""
        found = {
            argument.expression: argument.value
            for side in (self.source, self.target)
            for argument in side.arguments.values()
            if argument.expression and (side is self.source or argument.expression.isupper())
        }
        said = self._num_features
        if said is not None and self.channels != said.value:
            found[said.text] = self.channels
        return found

    @property
    def _num_features(self) -> Argument | None:
        for side in (self.target, self.source):
            said = side.arguments.get("num_features", side.canonical["num_features"])
            if isinstance(said.value, int):
                return said
        return None

    @property
    def _per_channel(self) -> bool:
        """Whether an argument has a value for each channel, so that there can't be fewer."""
        slots = ("initial_weights", *(slot for slot in NEUTRAL if slot.startswith("init of ")))
        values = [self.source.canonical[slot].value for slot in slots]
        values += [getattr(value, "value", None) for value in values]
        return any(isinstance(value, np.ndarray | list | tuple) for value in values)

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
    to: Framework,
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
    canonical["epsilon"] = _in_force(source.dialect, canonical, rank)
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
    made = replace(made, differences=(*differences, *_refusals(made)))

    def with_flag(name: str, value: Argument) -> Plan:
        return make_plan(
            source,
            {**arguments, name: value},
            to,
            rank=rank,
            num_features=num_features,
            data_format=data_format,
        )

    cases = list(_flag_plans(ours, with_flag))
    return replace(
        made,
        differences=(*made.differences, *_flag_differences(made, cases)),
        cases=tuple(case for _, _, case in cases),
    )


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


def _in_force(source: Framework, canonical: Canonical, rank: int) -> Argument:
    """Epsilon as the source's kernel takes it, which has a smallest one."""
    epsilon, floor = canonical["epsilon"], facts(source, canonical, rank).epsilon_floor
    if not floor:
        return epsilon
    if epsilon.expression:
        text = f"max({epsilon.text}, {floor!r})"
        return replace(epsilon, text=text, expression=text)
    if isinstance(epsilon.value, float) and epsilon.value < floor:
        return replace(epsilon, text=repr(floor), value=floor)
    return epsilon


def _refusals(made: Plan) -> list[Difference]:
    """What the target's own checks refuse; the source's refusals are the user's mistakes."""
    target = made.target.form
    try:
        made.source.built(made.rank, made.channels)
    except _REFUSALS as error:
        raise _refused(made.source.form.dialect, error) from error
    try:
        layer: Any = made.target.built(made.rank, made.channels)
        if target.dialect.calls.checks_when_called:
            shape = [2] * made.rank
            shape[made.axes[1]] = made.channels
            layer(np.zeros(shape, layer.gamma.dtype))
    except _REFUSALS as error:
        text = f"{target.dialect.name} refuses this call: {error}"
        return [Difference("refused", "inexpressible", text, "change that argument in the source")]
    return []


def _refused(source: Framework, error: Exception) -> InvalidValue:
    return InvalidValue(f"{source.name} itself refuses this call: {error}")


def _flag_plans(
    source: Side, plan: Callable[[str, Argument], Plan]
) -> Iterator[tuple[str, object, Plan]]:
    """The expression, a value, and the plan with that value in its place, for each flag."""
    for name, argument in source.arguments.items():
        if argument.expression:
            for value in _FLAGS.get(source.form.parameters[name].meaning.word, ()):
                try:
                    yield argument.expression, value, plan(name, Argument(repr(value), value))
                except BatchNormError:
                    continue  # a value that the source itself refuses


def _flag_differences(made: Plan, cases: list[tuple[str, object, Plan]]) -> Iterator[Difference]:
    """What the written call gets wrong for some value of a flag."""
    known = {d.key for d in made.differences if d.kind == "inexpressible"}
    if "statistics-expression" in known:
        return
    for expression, value, case in cases:
        lost = [d for d in case.differences if d.kind == "inexpressible" and d.key not in known]
        other = _differs(_with(made.target, expression, value), case.target.canonical)
        if lost or other:
            what = "; ".join(d.text for d in lost) or f"the call should be {case.target.text}"
            remedy = "; ".join(dict.fromkeys(d.remedy for d in lost if d.remedy))
            yield Difference(
                "flag",
                "inexpressible",
                f"for {expression} = {value}: {what}",
                remedy or f"write a call of its own where {expression} is {value}",
            )


def _differs(first: Canonical, second: Canonical) -> bool:
    return any(not first[slot].same(second[slot]) for slot in second if slot in first)


def _with(side: Side, expression: str, value: object) -> Canonical:
    """What the written call means where the expression has a value."""
    flag = ast.dump(ast.parse(expression, mode="eval").body)
    given = {}
    for name, argument in side.arguments.items():
        given[name] = argument
        if argument.expression:
            try:
                known = _evaluate(ast.parse(argument.text, mode="eval").body, flag, value)
            except (ValueError, ArithmeticError):
                continue
            given[name] = Argument(repr(known), known)
    return read(side.form, given)


def _evaluate(node: ast.expr, flag: str, value: object) -> Any:
    """The value of what we write around a flag; ValueError for anything else."""
    if ast.dump(node) == flag:
        return value
    match node:
        case ast.UnaryOp(op=ast.Not()):
            return not _evaluate(node.operand, flag, value)
        case ast.IfExp():
            chosen = node.body if _evaluate(node.test, flag, value) else node.orelse
            return _evaluate(chosen, flag, value)
        case ast.Compare(ops=[ast.IsNot()], comparators=[ast.Constant(value=constant)]):
            return _evaluate(node.left, flag, value) is not constant
    return literal_value(node)
