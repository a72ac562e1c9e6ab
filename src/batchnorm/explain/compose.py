"""The page of two sides: its sections in order, each made by its own module."""

from __future__ import annotations

from batchnorm.explain.page import Page, Section
from batchnorm.explain.sections import (
    behaviours,
    calls,
    examples,
    modes,
    official,
    parameters,
    states,
    summary,
    updates,
)
from batchnorm.explain.sides import Side
from batchnorm.explain.typography import chinese
from batchnorm.explain.words import Lang, say
from batchnorm.questions.question import Text

__all__ = ["compose"]

TITLE = Text("How `{a}` and `{b}` differ ({a_version}, {b_version})")


def compose(a: Side, b: Side, lang: Lang) -> Page:
    """Make the page in one language."""
    sections: list[Section] = [
        section.make(a, b, lang) for section in (summary, calls, parameters, states, modes, updates)
    ]
    sections += behaviours.make(a, b, lang)
    about_the_page = (section.make(a, b, lang) for section in (official, examples))
    sections += [section for section in about_the_page if section]
    title = say(TITLE, lang, a=a.path, b=b.path, a_version=a.versioned, b_version=b.versioned)
    page = Page(title, lang, a.facts(), b.facts(), tuple(sections))
    return chinese(page) if lang == "zh" else page
