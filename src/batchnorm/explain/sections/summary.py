"""What goes wrong most often, one row each: the top of every page and the table of the layers.

Each cell is made from a declaration, a mode rule, a call of a new layer, or a recorded answer.
"""

from __future__ import annotations

from collections.abc import Callable

from batchnorm.declaration import Parameter
from batchnorm.explain.page import Block, Column, Paragraph, Row, Section, Table
from batchnorm.explain.sections import ignored, rules
from batchnorm.explain.sections.answers import ABSENT, flat, show, witnesses
from batchnorm.explain.sections.modes import standing, starts_in_training
from batchnorm.explain.sides import Side
from batchnorm.explain.words import Lang, label, say
from batchnorm.frameworks import OWN, find
from batchnorm.questions import question
from batchnorm.questions.question import Text
from batchnorm.questions.subject import Ours

__all__ = ["make", "rows"]

TITLE = Text("In short")
NEW_BATCH, OLD_VALUE = Text("new batch"), Text("old value")
AT_RANK = Text("{word} at rank {ranks}")
TRAINING, INFERENCE = Text("training"), Text("inference")
BY_METHOD = Text("{mode}; set by {method}")
BY_CALL = Text("{mode}; set by each call's `training=`")
READ_IN = Text("{side}, by its source")
EASIER = Text(
    "The easiest port from {a} to {b} is `{layer}`, which keeps its names, defaults and "
    "momentum: see [that page]({page}.en.md). It runs on Ascend only."
)
ONLY_INFERENCE = Text("inference mode only")


def make(a: Side, b: Side, lang: Lang) -> Section:
    """What to do, and the facts side by side."""
    columns = (Column("fact", ""), Column("a", label(a, b)), Column("b", label(b, a)))
    notes = (Paragraph(text) for text in (*sourced((a, b), lang), *easier(a, b, lang)))
    facts = Table(columns, rows((a, b), lang))
    found = rules.Rules(a, b, lang)
    plot = ignored.plot(found)
    blocks: list[Block] = [rules.table(found), *([plot] if plot else ()), facts, *notes]
    return Section("summary", say(TITLE, lang), tuple(blocks))


def sourced(sides: tuple[Side, ...], lang: Lang) -> list[str]:
    """What of the sides is told by its source because it can't be run."""
    return [say(Text(*s.framework.sourced), lang) for s in sides if s.framework.sourced]


def easier(a: Side, b: Side, lang: Lang) -> list[str]:
    """Other frameworks that are easier targets of a port from one of the sides to the other."""
    pairs = {(a.dialect, b.dialect), (b.dialect, a.dialect)}
    found = [r for r in OWN if r.easier and r.easier[:2] in pairs]
    return [
        say(
            EASIER,
            lang,
            a=find(r.easier[0]).title,
            b=find(r.easier[1]).title,
            layer=r.layer,
            page=f"{r.easier[0]}-{r.name}",
        )
        for r in found
        if r.easier
    ]


def rows(sides: tuple[Side, ...], lang: Lang) -> tuple[Row, ...]:
    """A row per fact, a cell per side."""
    return tuple(
        Row((say(title, lang), *(fact(side, lang) for side in sides)))
        for title, fact in FACTS.items()
    )


def _layer(side: Side, lang: Lang) -> str:
    return f"`{side.path}`"


def _version(side: Side, lang: Lang) -> str:
    if side.framework.sourced:
        return say(READ_IN, lang, side=side.versioned)
    return side.versioned


def _momentum(side: Side, lang: Lang) -> str:
    return _default(side.named("weight_of_batch", "weight_of_running"))


def _epsilon(side: Side, lang: Lang) -> str:
    return _default(side.named("epsilon"))


def _default(parameter: Parameter | None) -> str:
    assert parameter is not None
    return f"`{parameter.name}={parameter.default!r}`"


def _weight(side: Side, lang: Lang) -> str:
    return say(NEW_BATCH if side.named("weight_of_batch") else OLD_VALUE, lang)


def _variance(side: Side, lang: Lang) -> str:
    """By rank where that is recorded and decides, else in one word."""
    found = witnesses(side)
    if not found:  # nothing is recorded: as our layer has it
        own = question("running-variance-denominator").experiment
        assert own is not None
        return show(own(Ours(side.name)), lang)
    witness = found[0]
    answer = witness.answer(question("running-variance-denominator-by-rank"))
    if answer == ABSENT:
        return show(witness.answer(question("running-variance-denominator")), lang)
    shown = {" ".join(case): show(one, lang) for case, one in flat(answer).items()}
    words = list(dict.fromkeys(shown.values()))
    if len(words) == 1:
        return words[0]
    ranks = {word: "/".join(rank for rank in shown if shown[rank] == word) for word in words}
    return ", ".join(say(AT_RANK, lang, word=word, ranks=ranks[word]) for word in words)


def _start(side: Side, lang: Lang) -> str:
    mode = say(TRAINING if starts_in_training(side) else INFERENCE, lang)
    if side.mode_method:
        return say(BY_METHOD, lang, mode=mode, method=f"`{side.mode_method}()`")
    return say(BY_CALL, lang, mode=mode)


def _still(side: Side, lang: Lang) -> str:
    """What keeps the running statistics unused and still, although the layer is to train."""
    return standing(side) or say(ONLY_INFERENCE, lang)


def _state(side: Side, lang: Lang) -> str:
    state = side.layer_class.STATE.items()
    return ", ".join(f"`{name}`" for name, entry in state if "renorm" not in entry.needs)


FACTS: dict[Text, Callable[[Side, Lang], str]] = {
    Text("layer"): _layer,
    Text("measured with"): _version,
    Text("momentum"): _momentum,
    Text("momentum is the weight of the"): _weight,
    Text("epsilon"): _epsilon,
    Text("variance that enters the running one"): _variance,
    Text("a new layer is in"): _start,
    Text("statistics frozen in training by"): _still,
    Text("state, in order"): _state,
}
