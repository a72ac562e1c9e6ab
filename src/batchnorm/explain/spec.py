"""A dialect's own page: what its layer takes, computes, keeps and refuses, from its declaration.

What it answers to each question is as recorded from the real framework. Not here: how it differs
from another dialect (`compose`), and how a page is printed (`renderers`).
"""

from __future__ import annotations

from typing import Any

from batchnorm.explain.page import Block, Code, Column, Page, Paragraph, Row, Section, Table
from batchnorm.explain.sections import asked, modes, states, updates
from batchnorm.explain.sections.answers import witnesses
from batchnorm.explain.sides import Side
from batchnorm.explain.typography import chinese
from batchnorm.explain.words import Lang, as_is, gloss, say
from batchnorm.questions import QUESTIONS
from batchnorm.questions.question import Text
from batchnorm.vocabulary import as_dtype

__all__ = ["compose"]

TITLE = Text("What `{path}` does ({version})")
INTRO = Text(
    "From the declaration in `batchnorm.{name}`, which `batchnorm verify` compares with the "
    "framework; `batchnorm conformance` puts all of this to any layer."
)
SOURCED = Text(
    "Its framework doesn't run here: all of it follows from the source, nothing is measured."
)
CALL, ARGUMENTS = Text("The call"), Text("Arguments")
NAME, DEFAULT = Text("argument"), Text("default")
MEANING, REQUIRED = Text("meaning"), Text("required")
FORMULAS = Text("What is computed")
FORMULAS_INTRO = Text(
    "`n` is the number of values per channel, sums are over them; gradients are of `sum(y * dy)`. "
    "Options that compute something else (renorm, masks, ghost batches) are left out."
)
STATE, MODES, UPDATE = Text("State"), Text("Modes"), Text("Updates")
TYPES = Text("Types")
TYPES_INTRO = Text(
    "Type of the output in training, by the layer's `dtype` and the input's type; what is raised "
    "otherwise."
)
ANSWERS = Text("Answers")
ANSWERS_INTRO = Text("What the framework answered to each question, as recorded.")
QUESTION, ANSWER = Text("question"), Text("answer")
INPUTS = ("float32", "float64", "float16", "bfloat16", "int32", "bool", "complex64")
LAYERS = (None, "float64", "float16", "bfloat16")
POLICIES = ("mixed_float16", "mixed_bfloat16")
FORWARD = """\
# in training, by the batch's statistics
mean = sum(x) / n
var = sum((x - mean)**2) / n
# in inference
mean, var = {running_mean}, {running_var}

x_hat = (x - mean) / sqrt(var + {epsilon})
y = x_hat * {gamma} + {beta}

d_{gamma} = sum(dy * x_hat)
d_{beta} = sum(dy)
# in training
dx = {gamma} / sqrt(var + {epsilon}) * (dy - sum(dy) / n - x_hat * sum(dy * x_hat) / n)
# in inference
dx = {gamma} / sqrt(var + {epsilon}) * dy"""


def compose(side: Side, lang: Lang) -> Page:
    """Make the page in one language."""
    intro: list[Block] = [Paragraph(say(INTRO, lang, name=side.framework.module))]
    if side.framework.sourced:
        intro.append(Paragraph(say(SOURCED, lang)))
    names = {role: name for role, (_, name, _) in states.entries(side).items()}
    epsilon = side.named("epsilon")
    assert epsilon is not None
    formulas = FORWARD.format(**names, epsilon=epsilon.name)
    sections = [
        Section("call", say(CALL, lang), (*intro, Code(_signature(side)))),
        Section("arguments", say(ARGUMENTS, lang), (_arguments(side, lang),)),
        Section(
            "formulas", say(FORMULAS, lang), (Paragraph(say(FORMULAS_INTRO, lang)), Code(formulas))
        ),
        Section("updates", say(UPDATE, lang), updates.rule(side, "", lang).blocks),
        Section("state", say(STATE, lang), (states.table((side,), lang),)),
        Section("modes", say(MODES, lang), modes.one(side, side, lang).blocks),
        Section("types", say(TYPES, lang), (Paragraph(say(TYPES_INTRO, lang)), _types(side, lang))),
    ]
    if witnesses(side):
        answers = (Paragraph(say(ANSWERS_INTRO, lang)), _answers(side, lang))
        sections.append(Section("answers", say(ANSWERS, lang), answers))
    title = say(TITLE, lang, path=side.path, version=side.versioned)
    page = Page(title, lang, side.facts(), side.facts(), tuple(sections))
    return chinese(page) if lang == "zh" else page


def _signature(side: Side) -> str:
    given = [p.name if p.required else f"{p.name}={p.default!r}" for p in side.parameters.values()]
    named = ", ".join(side.call_parameters)
    return f"layer = {side.path}(\n    " + ",\n    ".join(given) + f",\n)\ny = layer({named})"


def _arguments(side: Side, lang: Lang) -> Table:
    rows = tuple(
        Row(
            (
                f"`{p.name}`",
                say(REQUIRED, lang) if p.required else f"`{p.default!r}`",
                gloss(p.meaning, lang),
            ),
            f"argument-{p.name}",
        )
        for p in side.parameters.values()
    )
    titles = (("name", NAME), ("default", DEFAULT), ("meaning", MEANING))
    return Table(tuple(Column(key, say(text, lang)) for key, text in titles), rows)


def _types(side: Side, lang: Lang) -> Table:
    parameter = side.named("parameter_dtype", "dtype_policy")
    name = "dtype" if parameter is None else parameter.name
    is_keras = side.framework.is_keras
    rows = []
    for dtype in (*LAYERS, *(POLICIES if is_keras else ())):
        given: Any = dtype if dtype is None or is_keras else as_dtype(dtype)
        try:
            layer = side.layer(**({} if given is None else {name: given}))
            layer.ensure_built((4, 3, 2, 3))
        except Exception as error:
            cells = [_raised(error)] * len(INPUTS)
        else:
            cells = [_decided(layer, kind) for kind in INPUTS]
        rows.append(Row((f"`{name}={dtype!r}`" if dtype else "-", *cells)))
    columns = (Column("layer", ""), *(Column(kind, f"`{kind}`") for kind in INPUTS))
    return Table(columns, tuple(rows))


def _decided(layer: Any, kind: str) -> str:
    try:
        return f"`{layer.decide((4, 3, 2, 3), as_dtype(kind), True).dtype.name}`"
    except Exception as error:
        return _raised(error)


def _raised(error: Exception) -> str:
    """The built-in class, which the framework's own is or becomes."""
    classes = type(error).__mro__
    return f"`{next(c.__name__ for c in classes if c.__module__ == 'builtins')}`"


def _answers(side: Side, lang: Lang) -> Table:
    rows = tuple(
        Row((as_is(q.text, lang), asked.one_line(witnesses(side)[0].answer(q), lang, q)), q.id)
        for q in QUESTIONS
        if q.experiment is not None and side.dialect in q.asked_of and asked.known(q, side)
    )
    titles = (("question", QUESTION), ("answer", ANSWER))
    return Table(tuple(Column(key, say(text, lang)) for key, text in titles), rows)
