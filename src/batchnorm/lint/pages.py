"""A rule's page as Markdown: its docstring, and what the real frameworks answered when asked.

Not here: the texts (each rule's `check`), and which files are written (`build`).
"""

from __future__ import annotations

from batchnorm.explain.renderers.markdown import inline
from batchnorm.explain.sections.answers import ABSENT, flat, show_for, witnesses, word
from batchnorm.explain.sides import NEWEST, Side
from batchnorm.lint.rule import Rule
from batchnorm.lint.rules import RULES
from batchnorm.questions import QUESTIONS, Question

__all__ = ["index", "page"]

INDEX = """# The rules of `batchnorm lint`

{rows}

`--fix` writes what has one right answer, `--fix --unsafe-fixes` also what is likely: the table says
it of each page's example. `--diff` shows it and writes nothing; a second run changes nothing.

`batchnorm lint --explain BN001` prints a page, `--select` and `--ignore` choose rules (`BN00` is
all that begin so), `# noqa: BN001` in a line takes a finding there away. What the rules found in
public code, and how often they were wrong, stands in [measured.md](measured.md).
"""


def page(rule: Rule) -> str:
    """A rule's whole page."""
    parts = [f"# {rule.id} {rule.name}", rule.page]
    asked = [_evidence(each) for each in QUESTIONS if each.id in rule.questions]
    if asked:
        parts += ["## What the frameworks answered", *asked]
    return "\n\n".join(parts) + "\n"


def index() -> str:
    """The page that lists the rules."""
    lines = ["| rule | what it finds | fixed by |", "| --- | --- | --- |"]
    by = {"": "", "safe": "`--fix`", "unsafe": "`--unsafe-fixes`"}
    lines += [f"| [{r.id}]({r.id}.md) {r.name} | {r.summary} | {by[r.fix]} |" for r in RULES]
    return INDEX.format(rows="\n".join(lines))


def _evidence(question: Question) -> str:
    """A question with its recorded answers: frameworks as rows, cases as columns."""
    answers = []
    for name in NEWEST:
        side = Side(name)
        for witness in witnesses(side)[:1]:
            answer = witness.answer(question)
            if answer != ABSENT:
                answers.append((side.versioned, flat(answer)))
    cases = list(dict.fromkeys(case for _, found in answers for case in found))
    heads = [" ".join(word(key, "en") for key in case) for case in cases]
    lines = [["framework", *heads], ["---"] * (len(cases) + 1)]
    for name, found in answers:
        shown = [show_for(question, found[c], "en") if c in found else "" for c in cases]
        lines.append([name, *map(inline, shown)])
    table = "\n".join("| " + " | ".join(line).strip() + " |" for line in lines)
    return f"{inline(question.text.en)}\n\n{table}"
