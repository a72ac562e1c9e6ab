"""Questions: small experiments that ask a layer, a real framework's or ours, how it behaves.

`QUESTIONS` holds them all, `ask` puts one to a subject, `recorded` gives what a real framework
answered. How answers are recorded stands in `record.py`.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import get_args

from batchnorm.errors import InvalidValue
from batchnorm.questions import (
    batches,
    channels,
    devices,
    dtypes,
    epsilon,
    gradients,
    initial_values,
    keras_only,
    masks,
    modes,
    momentum,
    numerics,
    parameters,
    state,
    tracking,
    updates,
)
from batchnorm.questions.probe import error_name
from batchnorm.questions.question import Answer, Category, Question, Text
from batchnorm.questions.record import recorded, save, versions
from batchnorm.questions.subject import Raised, Subject

__all__ = [
    "QUESTIONS",
    "Answer",
    "Question",
    "Text",
    "ask",
    "ask_all",
    "question",
    "record_answers",
    "recorded",
    "same",
]

FILES = (
    momentum,
    updates,
    batches,
    keras_only,
    masks,
    modes,
    tracking,
    parameters,
    epsilon,
    channels,
    initial_values,
    state,
    dtypes,
    numerics,
    gradients,
    devices,
)
QUESTIONS: tuple[Question, ...] = tuple(
    sorted(
        (question for file in FILES for question in file.QUESTIONS),
        key=lambda question: get_args(Category).index(question.category),
    )
)
BY_ID = {question.id: question for question in QUESTIONS}


def question(id: str) -> Question:
    """Give the question of an id.

    Raises:
        ValueError: there is no such question.
    """
    if id not in BY_ID:
        raise InvalidValue(f"no question has the id {id!r}; known: {', '.join(BY_ID)}")
    return BY_ID[id]


def ask(question: Question, subject: Subject) -> Answer:
    """Put a question to a subject; what its layer raises is an answer, by its class.

    Raises:
        ValueError: the question has no experiment, or can't be put to this dialect.
    """
    if question.experiment is None or subject.dialect not in question.asked_of:
        raise InvalidValue(
            f"{question.id} can be put to {question.asked_of if question.experiment else ()}, "
            f"but the subject is {subject.label}"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a layer's warnings are no part of an answer
        try:
            return question.experiment(subject)
        except Raised as raised:
            return error_name(raised)


def ask_all(subject: Subject) -> dict[str, Answer]:
    """Put every question to a subject that can be put to it; the answers are by id."""
    asked = [q for q in QUESTIONS if q.experiment and subject.dialect in q.asked_of]
    return {q.id: ask(q, subject) for q in asked}


def record_answers(subject: Subject, framework: str, folder: Path | None = None) -> Path:
    """Ask everything and write the file of the framework's version; give its path.

    What is recorded already and the same stays as it is, so that noise changes no file. A
    framework with a backend ("keras/jax") records what differs from the one without.
    """
    answers, version = ask_all(subject), subject.version
    old = recorded(framework, version) if version in versions(framework) else {}
    for id, answer in answers.items():
        if id in old and same(BY_ID[id], answer, old[id]):
            answers[id] = old[id]
    if "/" not in framework:
        return save(framework, version, answers, folder)
    base = recorded(subject.dialect, version)
    differ = {id: a for id, a in answers.items() if not same(BY_ID[id], a, base[id])}
    return save(framework, version, differ, folder, like=subject.dialect)


def same(question: Question, a: Answer, b: Answer) -> bool:
    """Whether two answers are one: numbers within the question's tolerance, the rest equal.

    "error", for a class that a framework made itself, is ValueError, which our layers raise then.
    """
    if isinstance(a, dict) and isinstance(b, dict):
        return set(a) == set(b) and all(same(question, a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(lambda x, y: same(question, x, y), a, b))
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, int | float) and isinstance(b, int | float):
        return abs(a - b) <= question.tolerance
    return {"error": "ValueError"}.get(str(a), a) == {"error": "ValueError"}.get(str(b), b)
