"""What both sides were asked: the answers that differ, those that don't, and what wasn't asked.

Every answer shown is recorded from the real framework; ours stands beside it where it deviates on
purpose. The ids of questions are anchors in every page where the question is put to a side.
"""

from __future__ import annotations

from itertools import groupby

from batchnorm.explain.deviations import deviation
from batchnorm.explain.page import Block, Column, Paragraph, Row, Section, Table
from batchnorm.explain.sections.answers import ABSENT, Witness, flat, show, witnesses, word
from batchnorm.explain.sides import Side
from batchnorm.explain.words import Lang, label, say
from batchnorm.questions import QUESTIONS, Answer, Question, ask, same
from batchnorm.questions.question import Text
from batchnorm.questions.subject import Ours

__all__ = ["case_words", "differing", "known", "make", "say_as_is", "table"]

DIFFER = Text("What differs, as measured", "实测的差异")
DIFFER_INTRO = Text(
    "Each question is an experiment that ran on the real frameworks, in the versions named. The "
    "answers are recorded; `batchnorm verify` asks the installed frameworks again.",
    "每个问题都是在所列版本的真实框架上运行过的实验。答案已被记录;"
    "`batchnorm verify` 会重新询问已安装的框架。",
)
RECORDED = Text(
    "{side} can't be installed beside the others: its answers are derived from recorded runs.",
    "{side} 无法与其他框架装在一起:其答案由录制的运行结果得出。",
)
EQUAL = Text("Asked, and the same", "问过且相同")
EQUAL_INTRO = Text("Both sides give these answers.", "两边给出相同的答案。")
OPEN = Text("Not measured", "未测量")
OPEN_INTRO = Text(
    "Differences that no experiment here can show, with the reason and a source.",
    "此处无法用实验展示的差异,附原因与出处。",
)
BREAKS = Text("What breaks if you ignore this: {consequence}", "忽视它的后果:{consequence}")
OURS = Text("batchnorm as {side}", "batchnorm 的 {side}")
ON_PURPOSE = Text(
    "batchnorm deviates from {side} on purpose: {reason}", "batchnorm 有意不同于 {side}:{reason}"
)
NOT_RECORDED = Text("not recorded for {sides}", "没有 {sides} 的记录")
BACKEND = Text("{title} on {backend}", "{title}({backend} 后端)")
CASE, QUESTION, ANSWER = Text("case", "情形"), Text("question", "问题"), Text("answer", "答案")
REASON, SOURCE = Text("why not", "原因"), Text("source", "出处")
CATEGORIES = {
    "updates": Text("Statistics and updates", "统计量与更新"),
    "modes": Text("Modes", "模式"),
    "parameters": Text("Parameters", "参数"),
    "state": Text("State and files", "状态与文件"),
    "dtypes": Text("Types", "类型"),
    "numerics": Text("Numbers", "数值"),
    "gradients": Text("Gradients", "梯度"),
    "devices": Text("Devices and layouts", "设备与布局"),
}


def make(a: Side, b: Side, lang: Lang) -> list[Section]:
    """Up to three sections: what differs, what doesn't, what wasn't measured."""
    asked = [q for q in QUESTIONS if {a.dialect, b.dialect} & set(q.asked_of)]
    answered = [q for q in asked if q.experiment and not _missing(q, a, b)]
    differ = [q for q in answered if differing(q, a, b)]
    equal = [q for q in answered if q not in differ]
    opened = [q for q in asked if q not in answered]
    intro = [Paragraph(say(DIFFER_INTRO, lang))]
    for side in (a, b):
        if any(witness.from_recording for witness in witnesses(side)):
            intro.append(Paragraph(say(RECORDED, lang, side=side.versioned)))
    groups = tuple(
        Section(
            f"asked-{category}",
            say(CATEGORIES[category], lang),
            sections=tuple(_question(q, a, b, lang) for q in group),
        )
        for category, group in groupby(differ, key=lambda q: q.category)
    )
    sections = [Section("differences", say(DIFFER, lang), tuple(intro), groups)]
    if equal:
        blocks = (Paragraph(say(EQUAL_INTRO, lang)), _equal(equal, a, lang))
        sections.append(Section("same", say(EQUAL, lang), blocks))
    if opened:
        blocks = (Paragraph(say(OPEN_INTRO, lang)), _open(opened, a, b, lang))
        sections.append(Section("open", say(OPEN, lang), blocks))
    return sections


def _missing(question: Question, a: Side, b: Side) -> list[Side]:
    """The sides that could be asked but have no answer recorded."""
    return [s for s in (a, b) if s.dialect in question.asked_of and not known(question, s)]


def differing(question: Question, a: Side, b: Side) -> bool:
    """Whether recorded answers differ, a backend's too, or only one of the sides can be asked."""
    if not {a.dialect, b.dialect} <= set(question.asked_of):
        return True
    found = [w.answer(question) for side in (a, b) for w in witnesses(side)]
    answers = [answer for answer in found if answer != ABSENT]
    return not all(same(question, answers[0], answer) for answer in answers)


def table(question: Question, a: Side, b: Side, lang: Lang) -> Table:
    """The answers, a row per case, a column per framework."""
    columns: list[Column] = []
    answers: list[dict[tuple[str, ...], str]] = []
    for key, side, other in (("a", a, b), ("b", b, a)):
        if side.dialect not in question.asked_of:
            columns.append(Column(key, label(side, other)))
            answers.append({(): say(question.absent, lang)})
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
        if deviation(side.dialect, question.id):
            columns.append(Column(f"{key}_ours", say(OURS, lang, side=label(side, other))))
            ours = ask(question, Ours(side.name))
            answers.append({case: show(one, lang) for case, one in flat(ours).items()})
    # An answer without cases beside one that has them holds for all of them.
    cases = list(dict.fromkeys(case for found in answers for case in found if case)) or [()]
    rows = []
    for case in cases:
        cells = [found.get(case, found.get((), "-")) for found in answers]
        rows.append(Row((case_words(case, lang), *cells) if case else tuple(cells)))
    head = [Column("case", say(CASE, lang))] if cases != [()] else []
    return Table((*head, *columns), tuple(rows))


def known(question: Question, side: Side) -> bool:
    """Whether the side's answer is recorded."""
    found = witnesses(side)
    return bool(found) and found[0].answer(question) != ABSENT


def _title(side: Side, witness: Witness, lang: Lang) -> str:
    if not witness.backend:
        return side.versioned
    return say(BACKEND, lang, title=side.versioned, backend=witness.backend)


def case_words(case: tuple[str, ...], lang: Lang) -> str:
    """The name of a case in the page's language."""
    return ", ".join(word(part, lang) for part in case)


def _question(question: Question, a: Side, b: Side, lang: Lang) -> Section:
    blocks: list[Block] = [table(question, a, b, lang)]
    for side, other in ((a, b), (b, a)):
        listed = deviation(side.dialect, question.id)
        if listed:
            reason = f"{listed['reason']} ([link]({listed['link']}))"
            blocks.append(Paragraph(say(ON_PURPOSE, lang, side=label(side, other), reason=reason)))
    blocks.append(Paragraph(say(BREAKS, lang, consequence=say_as_is(question.consequence, lang))))
    data = {
        "question": question.id,
        "items": list(question.item),
        "answers": {
            f"{witness.name}@{witness.version}": witness.answer(question)
            for side in dict.fromkeys((a, b))
            for witness in witnesses(side)
            if witness.answer(question) != ABSENT
        },
    }
    return Section(question.id, say_as_is(question.text, lang), tuple(blocks), data=data)


def say_as_is(text: Text, lang: Lang) -> str:
    """A text that isn't a template: its braces are its own."""
    return text.zh if lang == "zh" else text.en


def _equal(questions: list[Question], a: Side, lang: Lang) -> Table:
    rows = []
    for question in questions:
        answer = witnesses(a)[0].answer(question)
        shown = [
            f"{case_words(case, lang)}: {show(one, lang)}" if case else show(one, lang)
            for case, one in flat(answer).items()
        ]
        cells = (say_as_is(question.text, lang), "; ".join(shown))
        rows.append(Row(cells, question.id, {"answer": answer}))
    columns = (Column("question", say(QUESTION, lang)), Column("answer", say(ANSWER, lang)))
    return Table(columns, tuple(rows))


def _open(questions: list[Question], a: Side, b: Side, lang: Lang) -> Table:
    rows = []
    for question in questions:
        missing = ", ".join(side.versioned for side in _missing(question, a, b))
        reason = say(NOT_RECORDED, lang, sides=missing) if question.experiment else ""
        source = f"[{say(SOURCE, lang)}]({question.source})" if question.source else "-"
        cells = (
            say_as_is(question.text, lang),
            say_as_is(question.consequence, lang),
            reason or say_as_is(question.unrecorded, lang),
            source,
        )
        rows.append(Row(cells, question.id, {"items": list(question.item)}))
    columns = (
        Column("question", say(QUESTION, lang)),
        Column("consequence", say(Text("what is known", "已知情况"), lang)),
        Column("reason", say(REASON, lang)),
        Column("source", say(SOURCE, lang)),
    )
    return Table(columns, tuple(rows))
