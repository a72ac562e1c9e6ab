"""What a question is: an experiment that any layer can be put to, and what its answer matters for.

Not here: the experiments themselves (the other files of this folder), who answers (`subject.py`),
and what the real frameworks answered (`answers/`, written by `batchnorm verify --record`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

from batchnorm.frameworks import OWN, Framework
from batchnorm.questions.subject import Subject

__all__ = ["ASKED", "Answer", "Category", "Question", "Text", "having"]

Answer: TypeAlias = str | int | float | bool | list[Any] | dict[str, Any] | None
"""What an experiment found, as JSON can hold it."""

Category: TypeAlias = Literal[
    "updates", "modes", "parameters", "state", "dtypes", "numerics", "gradients", "devices"
]


class Text(NamedTuple):
    """A sentence in both languages."""

    en: str
    zh: str


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
        text: the question itself.
        consequence: what breaks for those who ignore a difference here, with a number.
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
    text: Text
    consequence: Text
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
