"""The mode tables: each side's rule, called on all values that its arguments can have."""

from __future__ import annotations

import inspect
import itertools
import typing
from collections.abc import Iterator
from typing import Any

import numpy as np

from batchnorm.explain.page import Block, Column, Paragraph, Row, Section, Table
from batchnorm.explain.sides import Side
from batchnorm.explain.words import Lang, label, mode_words, say
from batchnorm.questions import question
from batchnorm.questions.question import Text
from batchnorm.vocabulary import Mode

__all__ = ["cases", "make", "one", "standing", "starts_in_training"]

TITLE = Text("Modes")
INTRO = Text("Which statistics normalize, and whether the call updates the running statistics.")
USED = Text("normalizes by")
UPDATES = Text("updates")
BY_METHOD = Text("The methods {methods} set training or inference. A new layer is in {mode}.")
BY_CALL = Text("Each call says `training=...`. Without it a call outside `fit` is {mode}.")
TRAINING, INFERENCE = Text("training mode"), Text("inference mode")
BUFFERS = Text(
    "`buffers` says whether `running_mean` and `running_var` are both there (`True`) or both "
    "`None` (`False`){alone}."
)
ALONE = Text(
    "; with one of them alone every call is an error: see [one statistic only](#one-statistic-only)"
)
METHODS = {"train": "`train()`, `eval()`", "set_train": "`set_train()`, `set_train(False)`"}


def make(a: Side, b: Side, lang: Lang) -> Section:
    """One table per side."""
    sections = tuple(one(side, other, lang) for side, other in ((a, b), (b, a)))
    return Section("modes", say(TITLE, lang), (Paragraph(say(INTRO, lang)),), sections)


def cases(side: Side) -> Iterator[tuple[dict[str, Any], Mode]]:
    """All values of the rule's arguments, with the mode that each gives."""
    rule: Any = getattr(side.layer_class, "mode")  # noqa: B009  (each dialect has its own)
    hints = typing.get_type_hints(rule)
    names = list(inspect.signature(rule).parameters)
    optional = [type(None) in typing.get_args(hints[name]) for name in names]
    values = [(None, True, False) if can_be_none else (True, False) for can_be_none in optional]
    for combination in itertools.product(*values):
        arguments = dict(zip(names, combination, strict=True))
        yield arguments, rule(**arguments)


def standing(side: Side) -> str:
    """The settings with which running statistics normalize and stand still in training; or ""."""
    return "; ".join(
        ", ".join(f"`{name}={value}`" for name, value in arguments.items() if name != "training")
        for arguments, mode in cases(side)
        if arguments["training"] and mode is Mode.RUNNING
    )


def starts_in_training(side: Side) -> bool:
    """Whether the first call of a new layer, told nothing else, moves its running statistics."""
    layer = side.layer(channels=2)
    layer(np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2))
    (name,) = (n for n, entry in side.layer_class.STATE.items() if entry.role == "running_mean")
    return bool(np.any(layer.state[name] != 0))


def _methods(side: Side) -> str:
    return METHODS.get(side.mode_method, f"`{side.mode_method}()`")


def one(side: Side, other: Side, lang: Lang) -> Section:
    """One side's table, and what its layers begin with."""
    title = label(side, other)
    found = list(cases(side))
    columns = [Column(name, f"`{name}`") for name in found[0][0]]
    columns += [Column("normalizes_by", say(USED, lang)), Column("updates", say(UPDATES, lang))]
    rows = []
    for arguments, mode in found:
        shown = (f"`{value}`" for value in arguments.values())
        rows.append(Row((*shown, *mode_words(mode, lang)), data={**arguments, "mode": mode.name}))
    first = say(TRAINING if starts_in_training(side) else INFERENCE, lang)
    if side.mode_method:
        start = say(BY_METHOD, lang, methods=_methods(side), mode=first)
    else:
        start = say(BY_CALL, lang, mode=first)
    blocks: list[Block] = [Table(tuple(columns), tuple(rows)), Paragraph(start)]
    if "buffers" in found[0][0]:
        asked = {side.dialect, other.dialect} & set(question("one-statistic-only").asked_of)
        blocks.append(Paragraph(say(BUFFERS, lang, alone=say(ALONE, lang) if asked else "")))
    return Section(f"modes-{side.id}", title, tuple(blocks))
