"""What both sides were asked: the answers that differ, those that don't, and what wasn't asked.

Every answer shown is recorded from the real framework; ours stands beside it where it deviates on
purpose. The ids of questions are anchors in every page where the question is put to a side.
"""

from __future__ import annotations

from itertools import groupby

from batchnorm.explain.page import Column, Paragraph, Row, Section, Table
from batchnorm.explain.sections import asked
from batchnorm.explain.sections.answers import ABSENT, witnesses
from batchnorm.explain.sides import Side
from batchnorm.explain.words import Lang, as_is, label, say
from batchnorm.questions import QUESTIONS, Question, same
from batchnorm.questions.question import Text

__all__ = ["differing", "make"]

DIFFER = Text("What differs, as measured")
DIFFER_INTRO = Text(
    "Each question is an experiment that ran on the real frameworks, in the versions named. The "
    "answers are recorded; `batchnorm verify` asks the installed frameworks again."
)
EQUAL = Text("Asked, and the same")
EQUAL_INTRO = Text("Both sides give these answers.")
OPEN = Text("Not measured")
OPEN_INTRO = Text("Differences that no experiment here can show, with the reason and a source.")
NOT_RECORDED = Text("not recorded for {sides}")
QUESTION, ANSWER = Text("question"), Text("answer")
BY_HAND = Text("open: measured by hand")
REASON, SOURCE = Text("why not"), Text("source")
CATEGORIES = {
    "updates": Text("Statistics and updates"),
    "modes": Text("Modes"),
    "parameters": Text("Parameters"),
    "state": Text("State and files"),
    "dtypes": Text("Types"),
    "numerics": Text("Numbers"),
    "gradients": Text("Gradients"),
    "devices": Text("Devices and layouts"),
}
UNASKED = Text(
    "No answer of {side} is recorded, so nothing measured stands here; what stands above follows "
    "from the declaration of its layer."
)


def make(a: Side, b: Side, lang: Lang) -> list[Section]:
    """Up to three sections: what differs, what doesn't, what wasn't measured."""
    put = [q for q in QUESTIONS if {a.dialect, b.dialect} & set(q.asked_of)]
    answered = [q for q in put if q.experiment and not _missing(q, a, b)]
    differ = [q for q in answered if differing(q, a, b)]
    equal = [q for q in answered if q not in differ]
    opened = [q for q in put if q not in answered]
    silent = [side for side in (a, b) if not witnesses(side)]
    intro = [Paragraph(say(UNASKED, lang, side=side.versioned)) for side in silent]
    intro = intro or [Paragraph(say(DIFFER_INTRO, lang))]
    groups = tuple(
        Section(
            f"asked-{category}",
            say(CATEGORIES[category], lang),
            sections=tuple(asked.make(q, a, b, lang) for q in group),
        )
        for category, group in groupby(differ, key=lambda q: q.category)
    )
    sections = [Section("differences", say(DIFFER, lang), tuple(intro), groups)]
    if equal:
        blocks = (Paragraph(say(EQUAL_INTRO, lang)), _equal(equal, a, b, lang))
        sections.append(Section("same", say(EQUAL, lang), blocks))
    if opened:
        blocks = (Paragraph(say(OPEN_INTRO, lang)), _open(opened, a, b, lang))
        sections.append(Section("open", say(OPEN, lang), blocks))
    return sections


def _missing(question: Question, a: Side, b: Side) -> list[Side]:
    """The sides that could be asked but have no answer recorded."""
    return [
        side
        for side in (a, b)
        if (side.dialect in question.asked_of or not witnesses(side))
        and not asked.known(question, side)
    ]


def differing(question: Question, a: Side, b: Side) -> bool:
    """Whether recorded answers differ, a backend's too, or only one of the sides can be asked."""
    if not {a.dialect, b.dialect} <= set(question.asked_of):
        return True
    found = [w.answer(question) for side in (a, b) for w in witnesses(side)]
    answers = [answer for answer in found if answer != ABSENT]
    return not all(same(question, answers[0], answer) for answer in answers)


def _equal(questions: list[Question], a: Side, b: Side, lang: Lang) -> Table:
    rows = []
    for question in questions:
        answer = witnesses(a)[0].answer(question)
        lines = [asked.one_line(answer, lang, question)]
        for side, other in ((a, b), (b, a)):
            if asked.deviations(question, side):
                own = asked.one_line(asked.ours(question, side), lang, question)
                lines.append(f"{say(asked.OURS, lang, side=label(side, other))}: {own}")
        lines += asked.reasons(question, a, b, lang)
        cells = (as_is(question.text, lang), "\n".join(lines))
        rows.append(Row(cells, question.id, {"answer": answer}))
    columns = (Column("question", say(QUESTION, lang)), Column("answer", say(ANSWER, lang)))
    return Table(columns, tuple(rows))


def _open(questions: list[Question], a: Side, b: Side, lang: Lang) -> Table:
    rows, known = [], witnesses(a) and witnesses(b)
    for question in questions:
        missing = ", ".join(side.versioned for side in _missing(question, a, b))
        reason = say(NOT_RECORDED, lang, sides=missing) if question.experiment else ""
        by_hand = say(BY_HAND, lang) if question.experiment is None else "-"
        source = f"[{say(SOURCE, lang)}]({question.source})" if question.source else by_hand
        cells = (
            as_is(question.text, lang),
            as_is(question.consequence, lang) if known and asked.fits(question, a, b) else "-",
            reason or as_is(question.unrecorded, lang),
            source,
        )
        rows.append(Row(cells, question.id, {"items": list(question.item)}))
    columns = (
        Column("question", say(QUESTION, lang)),
        Column("consequence", say(Text("what is known"), lang)),
        Column("reason", say(REASON, lang)),
        Column("source", say(SOURCE, lang)),
    )
    return Table(columns, tuple(rows))
