"""What to do when a layer goes from one side to the other, ranked by the harm of not doing it.

Every rule is made from the declarations, and its harm is computed: our layers of the other side run
a few training steps as the rule says, and as they would if nobody had followed it, and the outputs
in inference are compared. Not here: how the rules are printed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from batchnorm.declaration import Parameter
from batchnorm.explain.page import Column, Row, Table
from batchnorm.explain.sections import modes
from batchnorm.explain.sections.effects import axis_of, by_aspect
from batchnorm.explain.sections.states import entries
from batchnorm.explain.sides import Side
from batchnorm.explain.words import Lang, label, say
from batchnorm.questions.question import Text
from batchnorm.translate import Translation, translate
from batchnorm.vocabulary import Array

__all__ = ["RULES", "SCALES", "TOPICS", "Rule", "Rules", "Training", "table"]

STEPS = 100
SCALES = (0.05, 0.5, 2.0)  # standard deviations of the channels
TOPICS = ("momentum", "epsilon", "mode", "axis", "variance", "freezing", "state", "options")
NO_OPTIONS = {"num_features", "axis", "name", "device", "housekeeping", "input_shape", "dtype"}
NAMES: Mapping[str, Text] = {
    "momentum": Text("momentum"),
    "epsilon": Text("epsilon"),
    "mode": Text("mode"),
    "axis": Text("axis"),
    "variance": Text("running variance"),
    "freezing": Text("freezing"),
    "state": Text("state"),
    "options": Text("no counterpart"),
}
RULES = Text("What to do")
TOPIC, RULE, HARM = (
    Text("topic"),
    Text("rule"),
    Text("outputs, if ignored"),
)

INVERTED = Text("write 1 - m: {a}'s {value} is {b}'s `{name}={right}`")
THE_DEFAULT = Text(" (its default)")
NOT_DEFAULT = Text(" (its default is {default})")
SAME_MEANING = Text("means the same; the defaults differ: for {a}'s {value} write `{name}={right}`")
NAMED = Text("is `{name}` there, default {default}: for {a}'s {value} write `{name}={right}`")
BY_CALL = Text("say it at each call: `layer(x, training=True)` in a training step of your own")
BY_METHOD = Text(
    "a new {b} layer is in {mode}: call `{method}(True)` to train, `{method}(False)` to infer"
)
AXIS = Text(
    "channels are on axis {own} of {a}'s default layer and {other} of {b}'s: write `{written}`"
)
MOVE = Text(
    "channels are on axis {own} of {a}'s default layer and {other} of {b}'s: move them around "
    "the layer"
)
VARIANCE = Text(
    "{a} averages the variance over {ours}, {b} over {theirs}: nothing to write; training goes on "
    "slightly differently"
)
FREEZE = Text("running statistics stay still in training: {a} by {ours}; {b} by {theirs}")
INFERENCE_AGAIN = Text("{method} on the layer alone, after the net's")
OPTIONS = Text("{side} only: {names}")
OFF = Text("ignored: {share} off")


class Training(NamedTuple):
    """The outputs in inference after training, channels last, and the statistics on the way."""

    y: Array
    states: list[tuple[Array, Array]]


@dataclass(frozen=True)
class Rule:
    """What to do about one topic.

    Attributes:
        topic: one of TOPICS.
        text: a sentence with the number to write.
        harm: how far off the outputs are if it is ignored, relative to their root mean square; None
            where nothing can be computed.
        silent: whether ignoring it raises no error.
        ignored: how a layer trains that doesn't follow it, where that was tried.
    """

    topic: str
    text: str
    harm: float | None
    silent: bool = True
    ignored: Training | None = None

    def name(self, lang: Lang) -> str:
        """The topic's name."""
        return say(NAMES[self.topic], lang)

    def off(self, lang: Lang) -> str:
        """The harm in words; empty where none was computed."""
        if self.harm is None:
            return ""
        share = f"{self.harm:.0%}" if self.harm >= 0.005 else f"{self.harm:.0e}"
        return say(OFF, lang, share=share)


class Rules:
    """The rules for a layer of `a` that becomes one of `b`, in one language."""

    def __init__(self, a: Side, b: Side, lang: Lang) -> None:
        self.a, self.b, self.lang = a, b, lang
        self.words = {"a": label(a, b), "b": label(b, a)}

    @cached_property
    def ranked(self) -> list[Rule]:
        """All of them, the most harmful first; those without a number last."""
        found = list(self._found())
        return sorted(found, key=lambda rule: (rule.harm is None, -(rule.harm or 0)))

    @cached_property
    def translation(self) -> Translation:
        """The default layer of `a` in `b`'s words."""
        return translate(self.a.layer(), to=self.b.name, rank=4)

    def _found(self) -> Iterator[Rule]:
        for one in (self._momentum, self._epsilon, self._mode, self._axis, self._variance):
            rule = one()
            if rule is not None:
                yield rule
        yield self._freezing()
        yield Rule("state", self._state(), None, silent=False)
        options = self._options()
        if options:
            yield Rule("options", options, None, silent=False)

    def _right_value(self, parameter: Parameter) -> tuple[Any, str]:
        """What `b` must be given for `a`'s default, as a value and as text."""
        written = self.translation.plan.target.arguments.get(parameter.name)
        if written is None:
            return parameter.default, repr(parameter.default)
        return written.value, written.text

    def _say(self, text: Text, **values: object) -> str:
        return say(text, self.lang, **self.words, **values)

    def _momentum(self) -> Rule | None:
        ours = self.a.named("weight_of_batch", "weight_of_running")
        theirs = self.b.named("weight_of_batch", "weight_of_running")
        assert ours is not None
        assert theirs is not None
        right, written = self._right_value(theirs)
        values = {"value": ours.default, "name": theirs.name, "right": written}
        if ours.meaning != theirs.meaning:
            default = THE_DEFAULT if theirs.default == right else NOT_DEFAULT
            text = self._say(INVERTED, **values) + self._say(default, default=theirs.default)
            wrong = ours.default
        elif ours.default != theirs.default:
            text, wrong = self._say(SAME_MEANING, **values), theirs.default
        else:
            return None
        return self._tried("momentum", text, {theirs.name: wrong})

    def _epsilon(self) -> Rule | None:
        ours, theirs = self.a.named("epsilon"), self.b.named("epsilon")
        assert ours is not None
        assert theirs is not None
        if ours.default == theirs.default:
            return None
        values = {"name": theirs.name, "right": self._right_value(theirs)[1], "value": ours.default}
        text = self._say(NAMED, **values, default=theirs.default)
        return self._tried("epsilon", text, {theirs.name: theirs.default})

    def _mode(self) -> Rule | None:
        starts = [modes.starts_in_training(side) for side in (self.a, self.b)]
        if self.a.mode_method == self.b.mode_method and starts[0] == starts[1]:
            return None
        if self.b.mode_method:
            mode = say(modes.TRAINING if starts[1] else modes.INFERENCE, self.lang)
            text = self._say(BY_METHOD, mode=mode, method=self.b.mode_method)
        else:
            text = self._say(BY_CALL)
        return self._tried("mode", text, {}, told=False)

    def _axis(self) -> Rule | None:
        own, other = (axis_of(side.layer()) for side in (self.a, self.b))
        if own == other:
            return None
        parameter = self.b.named("channel_axis")
        if parameter is None:
            text = self._say(MOVE, own=own, other=other)
            return Rule("axis", text, None, silent=False)
        written = f"{parameter.name}={self._right_value(parameter)[1]}"
        text = self._say(AXIS, own=own, other=other, written=written)
        return self._tried("axis", text, {parameter.name: parameter.default})

    def _variance(self) -> Rule | None:
        ours, theirs = (_correction(side) for side in (self.a, self.b))
        if ours == theirs:
            return None
        names = {0: "n", 1: "n - 1"}
        text = self._say(VARIANCE, ours=names[ours], theirs=names[theirs])
        source = _trained(self.a, self.a.layer(), True)
        return Rule("variance", text, _apart(self.followed.y, source.y))

    def _freezing(self) -> Rule:
        text = self._say(FREEZE, ours=self._still(self.a), theirs=self._still(self.b))
        return Rule("freezing", text, None)

    def _still(self, side: Side) -> str:
        method = f"`{side.mode_method}(False)`" if side.mode_method else "`training=False`"
        return modes.standing(side) or say(INFERENCE_AGAIN, self.lang, method=method)

    def _state(self) -> str:
        ours, theirs = entries(self.a), entries(self.b)
        pairs = [
            f"`{name}` → `{theirs[role][1]}`" if role in theirs else f"`{name}` → -"
            for role, (_, name, entry) in ours.items()
            if "renorm" not in entry.needs
        ]
        return ", ".join(pairs)

    def _options(self) -> str:
        own, other = by_aspect(self.a), by_aspect(self.b)
        lines = []
        for side, there, mine, others in (
            (self.a, self.b, own, other),
            (self.b, self.a, other, own),
        ):
            unmatched = [
                f"`{parameter.name}`"
                for aspect, parameters in mine.items()
                if aspect not in others and aspect not in NO_OPTIONS
                for parameter in parameters
            ]
            shown = ", ".join(unmatched[:6]) + (", …" if len(unmatched) > 6 else "")
            if shown:
                lines.append(say(OPTIONS, self.lang, side=label(side, there), names=shown))
        return "; ".join(lines)

    @cached_property
    def followed(self) -> Training:
        """How a layer of `b` trains that follows all rules."""
        return _trained(self.b, self._layer({}), True, self._given)

    @cached_property
    def _given(self) -> int:
        """The axis on which the data has its channels: as the right layer takes them."""
        return axis_of(self._layer({}))

    def _layer(self, other: Mapping[str, Any]) -> Any:
        made = self.translation.plan.target
        values = {name: argument.value for name, argument in made.arguments.items()}
        return self.b.layer(len(SCALES), **{n: v for n, v in {**values, **other}.items()
                            if not self.b.parameters[n].required})  # fmt: skip

    def _tried(self, topic: str, text: str, other: Mapping[str, Any], told: bool = True) -> Rule:
        """A rule, with what comes of other arguments, or of a mode that nobody sets."""
        wrong = _trained(self.b, self._layer(other), told, self._given)
        return Rule(topic, text, _apart(wrong.y, self.followed.y), ignored=wrong)


def table(rules: Rules) -> Table:
    """The rules as a table, for the top of a page."""
    lang = rules.lang
    columns = [Column("topic", say(TOPIC, lang)), Column("rule", say(RULE, lang), wide=True)]
    columns.append(Column("harm", say(HARM, lang)))
    cells = ((r.topic, r.name(lang), r.text, r.off(lang) or "-") for r in rules.ranked)
    rows = tuple(Row(tuple(shown), f"rule-{topic}") for topic, *shown in cells)
    return Table(tuple(columns), rows)


def _data(axis: int) -> Iterator[Array]:
    """Batches whose channels, as many as there are scales, lie on an axis of rank 4."""
    drawn = np.random.default_rng(0)
    for step in range(STEPS + 1):
        x = drawn.normal(size=(8, 3, 3, len(SCALES))) * SCALES + 0.3 * np.cos(step)
        yield np.ascontiguousarray(np.moveaxis(x.astype(np.float32), -1, axis))


def _trained(side: Side, layer: Any, told: bool, axis: int | None = None) -> Training:
    """Train and infer; `told` says whether the mode is set."""
    axis = axis_of(side.layer(len(SCALES))) if axis is None else axis
    names = {entry.role: name for name, entry in side.layer_class.STATE.items()}
    states = []
    for step, x in enumerate(_data(axis)):
        training, call = step < STEPS, {}
        if told and side.mode_method and step in (0, STEPS):
            getattr(layer, side.mode_method)(training)
        elif told and not side.mode_method:
            call["training"] = training
        y = layer(x, **call)
        mean, var = (getattr(layer, names[role]) for role in ("running_mean", "running_var"))
        states.append((np.array(mean), np.array(var)))
    return Training(np.moveaxis(np.asarray(y, np.float64), axis, -1), states)


def _apart(one: Array, other: Array) -> float:
    return float(np.sqrt(np.mean((one - other) ** 2) / np.mean(other**2)))


def _correction(side: Side) -> int:
    """0 or 1 in n - c: what a step leaves in a layer that keeps nothing of the old value."""
    weight = side.named("weight_of_batch", "weight_of_running")
    assert weight is not None
    whole = 1.0 if weight.meaning.word == "weight_of_batch" else 0.0
    layer = side.layer(1, **{weight.name: whole})
    x = np.array([0, 2], np.float32).reshape(2, 1, 1, 1)
    if side.mode_method:
        getattr(layer, side.mode_method)(True)
        layer(x)
    else:
        layer(x, training=True)
    (name,) = (n for n, entry in side.layer_class.STATE.items() if entry.role == "running_var")
    return round(float(layer.state[name].ravel()[0])) - 1  # 1 or 2
