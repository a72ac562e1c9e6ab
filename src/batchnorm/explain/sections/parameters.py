"""The parameter table, in the form of the official difference pages, from both declarations.

Parameters meet by meaning, not by name. Where two sides say one thing with different parameters
(`affine` here, `center` and `scale` there), what corresponds is found by trying: `effects`.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from decimal import Decimal

from batchnorm.declaration import Parameter
from batchnorm.explain.page import Column, Row, Section, Table
from batchnorm.explain.sections import asked, behaviours, effects
from batchnorm.explain.sides import Side
from batchnorm.explain.words import ONLY, Lang, gloss, label, say
from batchnorm.questions import question
from batchnorm.questions.question import Text

__all__ = ["complement", "make"]

TITLE = Text("Parameters and inputs")
CATEGORY, SUB_CATEGORY = Text("category"), Text("sub-category")
DIFFERENCE = Text("difference")
PARAMETERS, PARAMETER = Text("parameters"), Text("parameter {n}")
INPUTS, INPUT = Text("inputs"), Text("input {n}")

SAME_MEANING = Text("same meaning, other name")
DEFAULTS = Text("defaults differ: {a} and {b}; to keep {side}'s, write `{name}={value}`")
OPPOSITE = Text("opposite meaning: {b_side}'s `{b}` is 1 - {a_side}'s `{a}`")
OTHER_NAME = Text("other name")
SAME_TYPES = Text("with the defaults, parameters and statistics are `{dtype}` on both sides")
ACCEPTED = Text("what is accepted differs: {links}")
VALUES: dict[str, dict[str, Text]] = {  # meaning -> the questions on what is accepted
    "init": {
        "gamma-from-a-name": Text("names"),
        "gamma-from-a-number": Text("numbers"),
        "gamma-from-an-array": Text("arrays"),
        "gamma-from-an-integer-array": Text("integer arrays"),
        "gamma-from-none": Text("None"),
    },
    "epsilon": {
        "zero-epsilon": Text("0"),
        "negative-epsilon": Text("negative"),
        "integer-epsilon": Text("integers"),
        "epsilon-above-one": Text("above 1"),
    },
}
SAME_DEFAULT = Text("the defaults mean the same")
MEANS = Text("{side}'s {gloss}")
IN_KWARGS = Text("`**kwargs`")
KEYWORD_ONLY = Text("keyword only")
BY_METHOD = Text("{side} has it in the layer: see [modes](#modes-{name})")

# The call's parameters by what they are for; each dialect names the first one differently.
CALL_ROLES = {"input": "input", "x": "input", "inputs": "input"}
CALL_ONLY = {
    "training": Text("training or inference, for this call"),
    "mask": Text("which samples or positions count in the statistics"),
}


def make(a: Side, b: Side, lang: Lang) -> Section:
    """The table; ids are `parameter-` and the name on the side that has it first."""
    columns = (
        Column("category", say(CATEGORY, lang)),
        Column("sub_category", say(SUB_CATEGORY, lang)),
        Column("a", label(a, b)),
        Column("b", label(b, a)),
        Column("difference", say(DIFFERENCE, lang), wide=True),
    )
    rows = _parameter_rows(a, b, lang) + _input_rows(a, b, lang)
    return Section("parameters", say(TITLE, lang), (Table(columns, tuple(rows)),))


def complement(weight: float) -> float:
    """1 - weight in decimal, as one writes it: 0.9, not 0.09999999999999998 for 0.1."""
    return float(1 - Decimal(repr(weight)))


def _parameter_rows(a: Side, b: Side, lang: Lang) -> list[Row]:
    ours, theirs = effects.by_aspect(a), effects.by_aspect(b)
    rows = []
    for n, aspect in enumerate(dict.fromkeys([*ours, *theirs]), 1):
        pair = ours.get(aspect, []), theirs.get(aspect, [])
        name = (pair[0] or pair[1])[0].name
        cells = (
            say(PARAMETERS, lang),
            say(PARAMETER, lang, n=n),
            _cell(pair[0], lang),
            _cell(pair[1], lang),
            _difference(a, b, aspect, pair, lang),
        )
        data = {
            key: {p.name: None if p.required else repr(p.default) for p in side}
            for key, side in zip("ab", pair, strict=True)
        }
        rows.append(Row(cells, f"parameter-{name}", data))
    return rows


def _cell(parameters: Sequence[Parameter], lang: Lang) -> str:
    shown = []
    for parameter in parameters:
        default = "" if parameter.required else f" = {parameter.default!r}"
        note = {"in **kwargs": IN_KWARGS, "keyword-only": KEYWORD_ONLY}.get(parameter.kind)
        shown.append(f"`{parameter.name}{default}`" + (f" ({say(note, lang)})" if note else ""))
    return "\n".join(shown) or "-"


def _difference(
    a: Side,
    b: Side,
    aspect: str,
    pair: tuple[Sequence[Parameter], Sequence[Parameter]],
    lang: Lang,
) -> str:
    ours, theirs = pair
    parts = []
    if not ours or not theirs:
        side, other = (a, b) if ours else (b, a)
        meanings = dict.fromkeys(gloss(p.meaning, lang) for p in ours or theirs)
        parts.append(say(ONLY, lang, side=label(side, other), gloss="; ".join(meanings)))
    elif aspect == "momentum" and ours[0].meaning != theirs[0].meaning:
        parts += _opposite(a, b, ours[0], theirs[0], lang)
    elif {p.meaning for p in ours} != {p.meaning for p in theirs}:
        for side, other, parameters in ((a, b, ours), (b, a, theirs)):
            glosses = "; ".join(f"`{p.name}`: {gloss(p.meaning, lang)}" for p in parameters)
            parts.append(say(MEANS, lang, side=label(side, other), gloss=glosses))
        types = effects.new_dtypes(a)
        if aspect == "dtype" and types == effects.new_dtypes(b):
            parts.append(say(SAME_TYPES, lang, dtype=", ".join(sorted(types))))
    else:
        parts += _same_meaning(a, b, ours, theirs, lang)
    if aspect in effects.ASPECTS_BY_EFFECT and parts:
        parts += effects.correspondence(a, b, aspect, lang)
    return "\n".join(parts) or "-"


def _same_meaning(
    a: Side, b: Side, ours: Sequence[Parameter], theirs: Sequence[Parameter], lang: Lang
) -> list[str]:
    by_meaning = {p.meaning: p for p in theirs}
    parts = []
    for own in ours:
        other = by_meaning[own.meaning]
        accepted = _accepted(a, b, own, lang)
        if own.name != other.name:
            parts.append(say(OTHER_NAME if accepted else SAME_MEANING, lang))
        parts += accepted
        if own.default == other.default:
            continue
        if own.meaning.word == "parameter_dtype" and effects.new_dtypes(a) == effects.new_dtypes(b):
            parts.append(say(SAME_DEFAULT, lang))
        else:
            parts.append(_defaults(a, b, own, other, own.default, lang))
    return list(dict.fromkeys(parts))


def _accepted(a: Side, b: Side, own: Parameter, lang: Lang) -> list[str]:
    """Links to the recorded answers on what the parameter takes, where they differ."""
    links = []
    for id, text in VALUES.get(own.meaning.word, {}).items():
        asked_of_both = asked.known(question(id), a) and asked.known(question(id), b)
        if asked_of_both and behaviours.differing(question(id), a, b):
            links.append(f"[{say(text, lang)}](#{id})")
    return [say(ACCEPTED, lang, links=", ".join(links))] if links else []


def _opposite(a: Side, b: Side, own: Parameter, other: Parameter, lang: Lang) -> list[str]:
    sides = {"a_side": label(a, b), "b_side": label(b, a)}
    parts = [say(OPPOSITE, lang, a=own.name, b=other.name, **sides)]
    wanted = complement(own.default)
    if wanted == other.default:
        return [*parts, say(SAME_DEFAULT, lang)]
    return [*parts, _defaults(a, b, own, other, wanted, lang)]


def _defaults(
    a: Side, b: Side, own: Parameter, other: Parameter, wanted: object, lang: Lang
) -> str:
    return say(
        DEFAULTS,
        lang,
        a=f"`{own.default!r}`",
        b=f"`{other.default!r}`",
        side=label(a, b),
        name=other.name,
        value=repr(wanted),
    )


def _input_rows(a: Side, b: Side, lang: Lang) -> list[Row]:
    ours, theirs = _by_role(a), _by_role(b)
    rows = []
    for n, role in enumerate(dict.fromkeys([*ours, *theirs]), 1):
        own, other = ours.get(role), theirs.get(role)
        parts = []
        if own and other and own.name != other.name:
            parts.append(say(SAME_MEANING, lang))
        elif not own or not other:
            here, there = (a, b) if own else (b, a)
            parts.append(say(ONLY, lang, side=label(here, there), gloss=say(CALL_ONLY[role], lang)))
            if role == "training" and there.mode_method:
                link = {"side": label(there, here), "name": there.id}
                parts.append(say(BY_METHOD, lang, **link))
        cells = (_input_cell(own), _input_cell(other), "\n".join(parts) or "-")
        rows.append(Row((say(INPUTS, lang), say(INPUT, lang, n=n), *cells), f"input-{role}"))
    return rows


def _by_role(side: Side) -> dict[str, inspect.Parameter]:
    return {CALL_ROLES.get(name, name): p for name, p in side.call_parameters.items()}


def _input_cell(parameter: inspect.Parameter | None) -> str:
    if parameter is None:
        return "-"
    required = parameter.default is inspect.Parameter.empty
    return f"`{parameter.name}`" if required else f"`{parameter.name} = {parameter.default!r}`"
