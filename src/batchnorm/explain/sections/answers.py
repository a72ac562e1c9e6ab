"""Recorded answers of a side, its version's and its other backends', and how an answer is shown.

Not here: which answers a page shows (`behaviours`), and how answers are recorded
(`batchnorm.questions.record`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from batchnorm.errors import InvalidValue
from batchnorm.explain.sides import NEWEST, Side
from batchnorm.explain.words import Lang, say
from batchnorm.questions import Answer, Question, recorded
from batchnorm.questions.question import Text, chinese

__all__ = ["ABSENT", "Witness", "flat", "show", "show_for", "witnesses", "word"]

ABSENT = "not asked"

YES, NO, NONE = Text("yes"), Text("no"), Text("none")
NUMBER = re.compile(r"-?[\d.]+(e-?\d+)?|nan|-?inf")
OWN_CLASS = Text("an exception class of its own (TensorFlow: `InvalidArgumentError`)")


@dataclass(frozen=True)
class Witness:
    """One framework in one version whose answers are recorded; `name` is as it is recorded."""

    name: str
    version: str

    @property
    def backend(self) -> str:
        """Which backend, where that isn't the dialect's usual one."""
        return self.name.partition("/")[2]

    def answer(self, question: Question) -> Answer:
        """What it answered; `ABSENT` where the question isn't put to it or isn't recorded."""
        return _recorded(self.name, self.version).get(question.id, ABSENT)


def witnesses(side: Side) -> list[Witness]:
    """The side's framework first, then its other backends."""
    names = (side.dialect, *side.framework.backends)
    return [Witness(name, side.version) for name in names if _recorded(name, side.version)]


@cache
def _recorded(name: str, version: str) -> Mapping[str, Answer]:
    try:
        return recorded(name, version)
    except InvalidValue:
        return {}


def flat(answer: Answer) -> dict[tuple[str, ...], Answer]:
    """An answer by case: the keys that lead to it; none where the answer is no mapping."""
    if not isinstance(answer, dict):
        return {(): answer}
    return {
        (key, *inner): one for key, value in answer.items() for inner, one in flat(value).items()
    }


def word(text: str, lang: Lang) -> str:
    """A word of an answer, or the name of a case, in the page's language."""
    if text == "error":
        return say(OWN_CLASS, lang)
    if _is_code(text):
        return f"`{text}`"
    return chinese("words").get(text, text) if lang == "zh" else text


def show(answer: Answer, lang: Lang) -> str:
    """One case of an answer as text."""
    if answer is None:
        return "`None`"
    if isinstance(answer, bool):
        return say(YES if answer else NO, lang)
    if isinstance(answer, int | float):
        return f"`{answer!r}`"
    if isinstance(answer, str):
        return word(answer, lang)
    if isinstance(answer, list):
        if answer and all(isinstance(one, int | float) for one in answer):
            return f"`{answer!r}`"
        return ", ".join(show(one, lang) for one in answer) or say(NONE, lang)
    return "; ".join(f"{word(key, lang)}: {show(one, lang)}" for key, one in answer.items())


def show_for(question: Question, answer: Answer, lang: Lang) -> str:
    """One case of a question's answer: a power of ten as a bound."""
    number = isinstance(answer, int | float) and not isinstance(answer, bool)
    if number and question.power_of_ten:
        return f"`< 1e{answer}`"
    return show(answer, lang)


def _is_code(text: str) -> bool:
    """Names of exception classes, dtypes and state entries, numbers, and what Python prints."""
    names = all(part.isidentifier() for part in text.split("."))
    dtypes = text.startswith(("float", "bfloat", "int")) and text[-1:].isdigit()
    return (
        dtypes
        or text in _state_names()
        or NUMBER.fullmatch(text) is not None
        or text in ("None", "True", "False")
        or (names and ("_" in text or "." in text or text.endswith(("Error", "Warning"))))
        or text.startswith(("<", "[", "(", "'"))
        or "=" in text
        or text.endswith(")")
    )


@cache
def _state_names() -> frozenset[str]:
    entries = (pair for name in NEWEST for pair in Side(name).layer_class.STATE.items())
    return frozenset(name for own, entry in entries for name in (own, entry.bare_name) if name)
