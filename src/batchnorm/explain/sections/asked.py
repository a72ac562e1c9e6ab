"""One question as a section: what each framework answered, what we answer on purpose, and why.

Not here: which questions a page shows, and where (`behaviours`).
"""

from __future__ import annotations

from batchnorm.explain.deviations import Deviation, deviation
from batchnorm.explain.page import Block, Column, Paragraph, Row, Section, Table
from batchnorm.explain.sections.answers import ABSENT, Witness, flat, show, witnesses, word
from batchnorm.explain.sides import Side
from batchnorm.explain.words import Lang, as_is, label, say
from batchnorm.questions import Answer, Question, ask, same
from batchnorm.questions.question import Text
from batchnorm.questions.subject import Ours

__all__ = ["case_words", "deviations", "known", "make", "one_line", "ours", "reasons"]

BREAKS = Text("What breaks if you ignore this: {consequence}", "忽视它的后果:{consequence}")
OURS = Text("batchnorm as {side}", "batchnorm 的 {side}")
ON_PURPOSE = Text(
    "batchnorm deviates from {side} on purpose: {reason} ([evidence]({link}))",
    "batchnorm 有意不同于 {side}:{reason}([依据]({link}))",
)
BACKEND = Text("{title} on {backend}", "{title}({backend} 后端)")
CASE = Text("case", "情形")


def make(question: Question, a: Side, b: Side, lang: Lang) -> Section:
    """The section; its id is the question's."""
    blocks: list[Block] = [_table(question, a, b, lang)]
    blocks += [Paragraph(reason) for reason in reasons(question, a, b, lang)]
    blocks.append(Paragraph(say(BREAKS, lang, consequence=as_is(question.consequence, lang))))
    return Section(
        question.id, as_is(question.text, lang), tuple(blocks), data=_data(question, a, b)
    )


def known(question: Question, side: Side) -> bool:
    """Whether the side's answer is recorded."""
    found = witnesses(side)
    return bool(found) and found[0].answer(question) != ABSENT


def deviations(question: Question, side: Side) -> list[Deviation]:
    """The listed deviations from the side's framework or its backends; each once."""
    found = (deviation(witness.name, question.id) for witness in witnesses(side))
    return list(dict.fromkeys(entry for entry in found if entry))


def ours(question: Question, side: Side) -> Answer:
    """What our layer answers now."""
    return ask(question, Ours(side.name))


def reasons(question: Question, a: Side, b: Side, lang: Lang) -> list[str]:
    """Why we deviate from either side."""
    return [
        say(
            ON_PURPOSE,
            lang,
            side=", ".join(entry.frameworks) or label(side, other),
            reason=as_is(entry.reason, lang).rstrip(".。"),
            link=entry.link,
        )
        for side, other in ((a, b), (b, a))
        for entry in deviations(question, side)
    ]


def one_line(answer: Answer, lang: Lang) -> str:
    """A whole answer, its cases side by side."""
    colon = {"en": ": ", "zh": ":"}[lang]
    return " · ".join(
        (case_words(case, lang) + colon if case else "") + show(one, lang)
        for case, one in flat(answer).items()
    )


def case_words(case: tuple[str, ...], lang: Lang) -> str:
    """The name of a case in the page's language."""
    return ", ".join(word(part, lang) for part in case)


def _table(question: Question, a: Side, b: Side, lang: Lang) -> Table:
    """The answers, a row per case, a column per framework."""
    columns: list[Column] = []
    answers: list[dict[tuple[str, ...], str]] = []
    for key, side, other in (("a", a, b), ("b", b, a)):
        if side.dialect not in question.asked_of:
            columns.append(Column(key, label(side, other)))
            answers.append({(): as_is(question.absent, lang)})
            continue
        shown: list[Answer] = []
        for witness in witnesses(side):
            answer = witness.answer(question)
            if answer == ABSENT or any(same(question, answer, before) for before in shown):
                continue
            shown.append(answer)
            suffix = f"_{witness.backend}" if witness.backend else ""
            columns.append(Column(key + suffix, _title(side, witness, lang)))
            answers.append({case: show(one, lang) for case, one in flat(answer).items()})
        if deviations(question, side):
            columns.append(Column(f"{key}_ours", say(OURS, lang, side=label(side, other))))
            answers.append(
                {case: show(one, lang) for case, one in flat(ours(question, side)).items()}
            )
    # An answer without cases beside one that has them holds for all of them.
    cases = list(dict.fromkeys(case for found in answers for case in found if case)) or [()]
    rows = []
    for case in cases:
        cells = [found.get(case, found.get((), "-")) for found in answers]
        rows.append(Row((case_words(case, lang), *cells) if case else tuple(cells)))
    head = [Column("case", say(CASE, lang))] if cases != [()] else []
    return Table((*head, *columns), tuple(rows))


def _title(side: Side, witness: Witness, lang: Lang) -> str:
    if not witness.backend:
        return side.versioned
    return say(BACKEND, lang, title=side.versioned, backend=witness.backend)


def _data(question: Question, a: Side, b: Side) -> dict[str, object]:
    answers = {
        f"{witness.name}@{witness.version}": witness.answer(question)
        for side in (a, b)
        for witness in witnesses(side)
        if witness.answer(question) != ABSENT
    }
    deviating = {side.name: ours(question, side) for side in (a, b) if deviations(question, side)}
    return {
        "question": question.id,
        "items": list(question.item),
        "answers": answers,
        "ours": deviating,
    }
