"""What one training step does to the running statistics, in each side's own names and numbers."""

from __future__ import annotations

import inspect
import itertools
from typing import Any

from batchnorm.explain.page import Block, Code, Column, Paragraph, Row, Section, Table
from batchnorm.explain.sections.parameters import complement
from batchnorm.explain.sections.states import entries
from batchnorm.explain.sides import Side
from batchnorm.explain.words import Lang, label, say
from batchnorm.questions.question import Text

__all__ = ["corrections", "make", "rule"]

TITLE = Text("Update rules")
INTRO = Text(
    "`x` are the n values of a channel in the batch, `mean` is their mean, `var` the variance that "
    "enters the running one. The output is normalized by the variance divided by n on both "
    "sides."
)
DEFAULT = Text("with the default `momentum={value}`:")
SIZE = Text("What the two divisors make of the same batch:")
VALUES, BATCH = Text("values per channel n"), Text("batch")
RATIO = Text("n/(n - 1)")
RELATIVE = Text("relative difference")
BATCHES = ((2, 1, 1), (8, 4, 4), (8, 8, 8), (32, 56, 56))  # samples, height, width
MANY = 512  # any number above 1 shows the rule


def make(a: Side, b: Side, lang: Lang) -> Section:
    """Formulas of both sides, and the size of the difference where there is one."""
    sections = tuple(rule(side, label(side, other), lang) for side, other in ((a, b), (b, a)))
    blocks: list[Block] = [Paragraph(say(INTRO, lang))]
    if {c for _, c in corrections(a)} != {c for _, c in corrections(b)}:
        blocks += [Paragraph(say(SIZE, lang)), _sizes(lang)]
    return Section("updates", say(TITLE, lang), tuple(blocks), sections)


def corrections(side: Side, count: int = MANY) -> list[tuple[dict[str, bool], int]]:
    """The c of n - c for all values of what the side's rule depends on."""
    rule: Any = getattr(side.layer_class, "correction")  # noqa: B009  (each dialect has its own)
    names = list(inspect.signature(rule).parameters)
    flags = [name for name in names if name != "count"]
    counted = {"count": count} if "count" in names else {}
    combinations = itertools.product((True, False), repeat=len(flags))
    given = [dict(zip(flags, values, strict=True)) for values in combinations]
    return [(values, rule(**values, **counted)) for values in given]


def rule(side: Side, title: str, lang: Lang) -> Section:
    """One side's formulas, with its names and its default momentum."""
    names = {role: name for role, (_, name, _) in entries(side).items()}
    momentum = side.named("weight_of_batch", "weight_of_running")
    assert momentum is not None
    of_batch = momentum.meaning.word == "weight_of_batch"
    default = float(momentum.default)
    other = complement(default)
    new, old = (default, other) if of_batch else (other, default)
    symbols = ("1 - momentum", "momentum") if of_batch else ("momentum", "1 - momentum")
    general = [_formula(names[role], *symbols, what) for role, what in STATISTICS]
    numbers = [_formula(names[role], f"{old:g}", f"{new:g}", what) for role, what in STATISTICS]
    variances = [
        "var = sum((x - mean)**2) / " + ("(n - 1)" if c else "n") + _when(flags)
        for flags, c in corrections(side)
    ]
    return Section(
        f"updates-{side.id}",
        title,
        (
            Code("\n".join([*variances, *general]), "python"),
            Paragraph(say(DEFAULT, lang, value=repr(momentum.default))),
            Code("\n".join(numbers), "python"),
        ),
        data={"momentum": default, "weight_of_batch": new, "corrections": corrections(side)},
    )


def _when(flags: dict[str, bool]) -> str:
    return "  # " + ", ".join(f"{key}={value}" for key, value in flags.items()) if flags else ""


STATISTICS = (("running_mean", "mean"), ("running_var", "var"))


def _formula(name: str, old: str, new: str, what: str) -> str:
    def factor(weight: str) -> str:
        return f"({weight})" if " " in weight else weight

    return f"{name} = {factor(old)} * {name} + {factor(new)} * {what}"


def _sizes(lang: Lang) -> Table:
    rows = []
    for batch in BATCHES:
        n = batch[0] * batch[1] * batch[2]
        ratio = n / (n - 1)
        cells = ("×".join(map(str, batch)), str(n), f"{ratio:.7g}", f"{ratio - 1:.1e}")
        rows.append(Row(cells, f"size-{n}", {"n": n, "ratio": ratio}))
    columns = (
        Column("batch", say(BATCH, lang) + " N×H×W"),
        Column("n", say(VALUES, lang)),
        Column("ratio", say(RATIO, lang)),
        Column("relative", say(RELATIVE, lang)),
    )
    return Table(columns, tuple(rows))
