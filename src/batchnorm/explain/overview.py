"""The table of the four dialects, for the README: from their declarations and recorded answers."""

from __future__ import annotations

from collections.abc import Callable

from batchnorm.declaration import Parameter
from batchnorm.explain.page import Column, Row, Table
from batchnorm.explain.renderers import markdown
from batchnorm.explain.sections.answers import flat, show, witnesses
from batchnorm.explain.sections.modes import cases, starts_in_training
from batchnorm.explain.sides import DIALECTS, Side
from batchnorm.questions import question
from batchnorm.vocabulary import Mode

__all__ = ["overview"]


def overview() -> str:
    """The table as Markdown: a column per dialect, a row per thing that goes wrong most often."""
    sides = [Side(name) for name in DIALECTS]
    columns = [Column("", ""), *(Column(side.name, f"`bn.{side.name}`") for side in sides)]
    rows = [Row((title, *map(fact, sides))) for title, fact in FACTS.items()]
    return markdown.table(Table(tuple(columns), tuple(rows)))


def _momentum(side: Side) -> str:
    return _default(side.named("weight_of_batch", "weight_of_running"))


def _weight(side: Side) -> str:
    found = side.named("weight_of_batch", "weight_of_running")
    assert found is not None
    return "new batch" if found.meaning.word == "weight_of_batch" else "old value"


def _default(parameter: Parameter | None) -> str:
    assert parameter is not None
    return f"`{parameter.name}={parameter.default!r}`"


def _variance(side: Side) -> str:
    """By rank where that decides, else in one word."""
    (witness, *_) = witnesses(side)
    found = flat(witness.answer(question("running-variance-denominator-by-rank")))
    shown = {rank: show(answer, "en") for rank, answer in found.items()}
    if len(set(shown.values())) == 1:
        return next(iter(shown.values()))
    words = dict.fromkeys(shown.values())
    return ", ".join(
        f"{word} at rank {'/'.join(rank for rank, own in shown.items() if own == word)}"
        for word in words
    )


def _start(side: Side) -> str:
    where = f"`{side.mode_method}()`" if side.mode_method else "each call says `training=`"
    mode = "training" if starts_in_training(side) else "inference"
    return f"{mode}; {where}"


def _freezing(side: Side) -> str:
    """What keeps the running statistics still although the layer is in training mode."""
    still = [
        ", ".join(f"`{name}={value}`" for name, value in arguments.items() if name != "training")
        for arguments, mode in cases(side)
        if arguments["training"] and mode is Mode.RUNNING
    ]
    return "; ".join(still) or "only inference mode: `eval()`"


def _state(side: Side) -> str:
    return ", ".join(
        f"`{name}`" for name, entry in side.layer_class.STATE.items() if "renorm" not in entry.needs
    )


FACTS: dict[str, Callable[[Side], str]] = {
    "layer": lambda side: f"`{side.path}`",
    "verified with": lambda side: side.versioned,
    "momentum": _momentum,
    "momentum weighs the": _weight,
    "epsilon": lambda side: _default(side.named("epsilon")),
    "variance in the running average": _variance,
    "a new layer is in": _start,
    "frozen by": _freezing,
    "state, in order": _state,
}
