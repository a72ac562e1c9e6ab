"""One question as a section: what each framework answered, what we answer on purpose, and why.

Not here: which questions a page shows, and where (`behaviours`).
"""

from __future__ import annotations

from functools import cache

from batchnorm.explain.deviations import Deviation, deviation
from batchnorm.explain.page import Block, Column, Paragraph, Row, Section, Table
from batchnorm.explain.sections.answers import ABSENT, Witness, flat, show_for, witnesses, word
from batchnorm.explain.sides import Side
from batchnorm.explain.words import Lang, as_is, label, say
from batchnorm.questions import Answer, Question, ask, same
from batchnorm.questions.probe import KERAS
from batchnorm.questions.question import Text
from batchnorm.questions.subject import Ours

__all__ = ["case_words", "deviations", "fits", "known", "make", "one_line", "ours", "reasons"]

BREAKS = Text("What breaks if you ignore this: {consequence}")
OURS = Text("batchnorm as {side}")
ON_PURPOSE = Text("batchnorm deviates from {side} on purpose: {reason} ([evidence]({link}))")
REFUSED = Text(
    "Neither side takes it. Only the exceptions differ: a handler for one class misses the other."
)
BACKEND = Text("{title} on {backend}")
CASE = Text("case")


def make(question: Question, a: Side, b: Side, lang: Lang) -> Section:
    """The section; its id is the question's."""
    blocks: list[Block] = [_table(question, a, b, lang)]
    blocks += [Paragraph(reason) for reason in reasons(question, a, b, lang)]
    if _both_refuse(question, a, b):
        blocks.append(Paragraph(say(BREAKS, lang, consequence=say(REFUSED, lang))))
    elif fits(question, a, b):
        blocks.append(Paragraph(say(BREAKS, lang, consequence=as_is(question.consequence, lang))))
    return Section(
        question.id, as_is(question.text, lang), tuple(blocks), data=_data(question, a, b)
    )


def known(question: Question, side: Side) -> bool:
    """Whether the side's answer is recorded."""
    found = witnesses(side)
    return bool(found) and found[0].answer(question) != ABSENT


def fits(question: Question, a: Side, b: Side) -> bool:
    """Whether the question's consequence is about these two."""
    return not question.speaks_of or bool({a.dialect, b.dialect} & set(question.speaks_of))


def _both_refuse(question: Question, a: Side, b: Side) -> bool:
    """Whether all answers of both sides, in all cases, are exceptions; then only classes differ."""
    if not {a.dialect, b.dialect} <= set(question.asked_of):
        return False
    found = [w.answer(question) for side in (a, b) for w in witnesses(side)]
    every = [one for answer in found if answer != ABSENT for one in flat(answer).values()]
    return all(isinstance(one, str) and (one == "error" or one.endswith("Error")) for one in every)


def deviations(question: Question, side: Side) -> list[Deviation]:
    """The listed deviations from the side's framework or its backends; each once."""
    found = (deviation(w.name, w.version, question.id) for w in witnesses(side))
    return list(dict.fromkeys(entry for entry in found if entry))


@cache
def ours(question: Question, side: Side) -> Answer:
    """What our layer answers now."""
    return ask(question, Ours(side.name))


def reasons(question: Question, a: Side, b: Side, lang: Lang) -> list[str]:
    """Why we deviate from either side."""
    return [
        say(
            ON_PURPOSE,
            lang,
            side=_of(entry, side, label(side, other), lang),
            reason=as_is(entry.reason, lang).rstrip(".。"),
            link=entry.link,
        )
        for side, other in ((a, b), (b, a))
        for entry in deviations(question, side)
    ]


def _of(entry: Deviation, side: Side, title: str, lang: Lang) -> str:
    """The framework that an entry is about, with the backends where it isn't true of all."""
    group = [witness for witness in witnesses(side) if witness.name in entry.frameworks]
    return _on(title, group, lang) if group else title


def one_line(answer: Answer, lang: Lang, question: Question) -> str:
    """A whole answer, its cases side by side."""
    colon = {"en": ": ", "zh": ":"}[lang]
    return " · ".join(
        (case_words(case, lang) + colon if case else "") + show_for(question, one, lang)
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
            keras = bool(question.absent_in_keras.en) and side.dialect in KERAS
            absent = question.absent_in_keras if keras else question.absent
            answers.append({(): as_is(absent, lang)})
            continue
        groups = _agreeing(question, side)
        for group in groups:
            suffix = f"_{group[0].backend}" if group is not groups[0] else ""
            title = side.versioned if len(groups) == 1 else _on(side.versioned, group, lang)
            columns.append(Column(key + suffix, title))
            answers.append(_shown(group[0].answer(question), lang, question))
        if deviations(question, side):
            columns.append(Column(f"{key}_ours", say(OURS, lang, side=label(side, other))))
            answers.append(_shown(ours(question, side), lang, question))
    # An answer without cases beside one that has them holds for all of them.
    cases = list(dict.fromkeys(case for found in answers for case in found if case)) or [()]
    rows = []
    for case in cases:
        cells = [found.get(case, found.get((), "-")) for found in answers]
        rows.append(Row((case_words(case, lang), *cells) if case else tuple(cells)))
    head = [Column("case", say(CASE, lang))] if cases != [()] else []
    return Table((*head, *columns), tuple(rows))


def _agreeing(question: Question, side: Side) -> list[list[Witness]]:
    """The side's framework and its backends, those with one answer together."""
    groups: list[list[Witness]] = []
    for witness in witnesses(side):
        answer = witness.answer(question)
        if answer == ABSENT:
            continue
        for group in groups:
            if same(question, answer, group[0].answer(question)):
                group.append(witness)
                break
        else:
            groups.append([witness])
    return groups


def _shown(answer: Answer, lang: Lang, question: Question) -> dict[tuple[str, ...], str]:
    return {case: show_for(question, one, lang) for case, one in flat(answer).items()}


def _on(title: str, group: list[Witness], lang: Lang) -> str:
    backends = ", ".join(witness.backend or "TensorFlow" for witness in group)
    return say(BACKEND, lang, title=title, backend=backends)


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
