"""Where MindSpore's official difference pages are wrong or silent, with the measured evidence.

What the pages say stands in `claims`; the recorded answers beside it are the only argument.
"""

from __future__ import annotations

from batchnorm.explain.page import Column, Paragraph, Row, Section, Table
from batchnorm.explain.sections import asked, examples
from batchnorm.explain.sections.answers import witnesses
from batchnorm.explain.sections.claims import CLAIMS, FILES, VERSIONS
from batchnorm.explain.sides import Side, resolve
from batchnorm.explain.words import Lang, as_is, label, say
from batchnorm.questions import QUESTIONS, Answer, Question, same
from batchnorm.questions.question import Text

__all__ = ["make"]

TITLE = Text("Where the official page is wrong or silent")
INTRO = Text(
    "MindSpore's own page about these two layers, [{name}]({link}) (r2.0), and what was measured."
)
SAYS, VERDICT = Text("the page"), Text("verdict")
EVIDENCE = Text("measured")
DOCS = (
    "https://github.com/mindspore-ai/docs/blob/r2.0/docs/mindspore/source_zh_cn/note/api_mapping/"
)


def make(a: Side, b: Side, lang: Lang) -> Section | None:
    """The claims of the official page about the two, if there is one; ids are `claim-`..."""
    pair = examples.applies(a, b)
    if pair is None:
        return None
    known = {question.id: question for question in QUESTIONS}
    rows = []
    for claim in CLAIMS[pair]:
        questions = [known[id] for id in claim.questions if id in known]
        evidence = [_evidence(question, a, b, lang) for question in questions]
        if claim.example:
            evidence.append(f"[{say(examples.TITLE, lang)}](#examples)")
        if not any(evidence):  # nothing is recorded for this version: nothing is claimed
            continue
        cells = (say(claim.says, lang), say(claim.verdict, lang), "\n".join(filter(None, evidence)))
        data = {"verdict": claim.verdict.en, "questions": [question.id for question in questions]}
        rows.append(Row(cells, f"claim-{claim.id}", data))
    columns = (
        Column("says", say(SAYS, lang)),
        Column("verdict", say(VERDICT, lang)),
        Column("evidence", say(EVIDENCE, lang), wide=True),
    )
    link = {"name": FILES[pair], "link": DOCS + FILES[pair]}
    blocks = (Paragraph(say(INTRO, lang, **link)), Table(columns, tuple(rows)))
    return Section("official-page", say(TITLE, lang), blocks)


def _evidence(question: Question, a: Side, b: Side, lang: Lang) -> str:
    """The question, with the answers of the sides that were asked, the page's versions too."""
    answers: dict[str, Answer] = {}
    for side, other in ((a, b), (b, a)):
        if asked.known(question, side):
            answers[label(side, other)] = witnesses(side)[0].answer(question)
    for name in VERSIONS:
        side = resolve(name)
        if side in (a, b) or side.dialect not in (a.dialect, b.dialect):
            continue
        if asked.known(question, side):
            answer = witnesses(side)[0].answer(question)
            if not any(same(question, answer, found) for found in answers.values()):
                answers[side.versioned] = answer
    if not answers:
        return ""
    title = as_is(question.text, lang).replace("`", "")
    shown = (
        f"{name}: {asked.one_line(answer, lang, question)}" for name, answer in answers.items()
    )
    return f"[{title}](#{question.id}) " + "; ".join(shown)
