"""What a question is: an experiment that any layer can be put to, and what its answer matters for.

Not here: the experiments themselves (the other files of this folder), who answers (`subject.py`),
and what the real frameworks answered (`answers/`, written by `batchnorm verify --record`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from batchnorm.frameworks import OWN, Framework
from batchnorm.newer_python import tomllib
from batchnorm.questions.subject import Subject

__all__ = ["ASKED", "Answer", "Category", "Question", "Text", "chinese", "having"]

Answer: TypeAlias = str | int | float | bool | list[Any] | dict[str, Any] | None
"""What an experiment found, as JSON can hold it."""

Category: TypeAlias = Literal[
    "updates", "modes", "parameters", "state", "dtypes", "numerics", "gradients", "devices"
]


class Text(NamedTuple):
    """A sentence in both languages; its Chinese stands in `zh.toml`, unless it is given.

    >>> Text("running mean of {sides}", "{sides} 的滑动均值").zh
    '{sides} 的滑动均值'
    """

    en: str
    given: str | None = None

    @property
    def zh(self) -> str:
        """The Chinese.

        Raises:
            KeyError: nobody has translated it.
        """
        return chinese("texts")[self.en] if self.given is None else self.given


@cache
def chinese(table: str) -> dict[str, str]:
    """One table of `zh.toml`, English -> Chinese: "texts", "words" of answers, "glossary"."""
    found = tomllib.loads(Path(__file__).with_name("zh.toml").read_text(encoding="utf-8"))
    tables: dict[str, dict[str, str]] = found
    return tables[table]


NOTHING = Text("", "")


ASKED = tuple(record for record in OWN if not (record.older or record.sourced))
"""The frameworks whose answers are recorded."""


def having(*words: str) -> tuple[str, ...]:
    """The frameworks asked that have a parameter of one of these meanings, or such state.

    >>> having("virtual_batch_size")
    ('tf_keras',)
    """
    return tuple(record.name for record in ASKED if set(words) & _words(record))


def _words(record: Framework) -> set[str]:
    layer = record.layer_class
    state = {entry.role for entry in layer.STATE.values()}
    return state | {parameter.meaning.word for parameter in layer.PARAMETERS.values()}


@dataclass(frozen=True)
class Question:
    """One thing that can be found out about a layer by running it.

    Attributes:
        id: stable name, the anchor in every difference page: "running-variance-denominator".
        category: the section of the page.
        asks: the question itself, in English; `text` in both languages.
        matters: what breaks for those who ignore a difference here, with a number; `consequence`
            in both languages.
        experiment: runs on a subject and returns its answer; what a layer raises is an answer too.
        asked_of: the dialects that it can be put to; for the others `absent` says why.
        absent: what to print for a dialect that it can't be put to ("has no such parameter").
        absent_in_keras: the same for both Keras dialects, where it is something else there.
        speaks_of: the dialects that the consequence is about, where it isn't about every pair.
        power_of_ten: whether a number n of an answer means "below 10 to the n".
        tolerance: how far apart two numbers of an answer may be and still be one answer.
        item: the number of the measured difference in the list that the project began with.
        unrecorded: why no framework's answer can be recorded here (a GPU, several processes).
        source: a link to the source or the documentation, where no experiment can be run.
    """

    id: str
    category: Category
    asks: str
    matters: str
    experiment: Callable[[Subject], Answer] | None
    asked_of: tuple[str, ...] = tuple(record.name for record in ASKED)
    absent: Text = NOTHING
    absent_in_keras: Text = NOTHING
    speaks_of: tuple[str, ...] = ()
    power_of_ten: bool = False
    tolerance: float = 0.0
    item: tuple[int, ...] = ()
    unrecorded: Text = NOTHING
    source: str = ""

    @property
    def text(self) -> Text:
        """The question itself."""
        return Text(self.asks)

    @property
    def consequence(self) -> Text:
        """What breaks for those who ignore a difference here."""
        return Text(self.matters)
