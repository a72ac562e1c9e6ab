"""The suite itself: questions and drawn cases, put to an adapter and to our layers of a dialect.

A question passes with the answer that the real framework gave, or with ours where that deviates on
purpose; a case passes within the bounds of `verify.tolerance`, or where a deviation is listed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from batchnorm.conformance import expected
from batchnorm.conformance.adapter import Adapted, NotOffered
from batchnorm.conformance.report import Report, Result
from batchnorm.errors import InvalidValue
from batchnorm.frameworks import find
from batchnorm.questions import QUESTIONS, Question, ask, recorded, same
from batchnorm.questions.subject import Ours
from batchnorm.verify import deviations
from batchnorm.verify.compare import compare
from batchnorm.verify.draw import Case, Seeded
from batchnorm.verify.play import play
from batchnorm.verify.verification import FRAMEWORKS, draw

__all__ = ["conform"]


def conform(
    adapter: Any,
    dialect: str,
    *,
    expected_failures: str | os.PathLike[str] | None = None,
    examples: int = 100,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Ask an adapter all questions of a dialect, and play drawn cases on it.

    Args:
        adapter: an object or a module with the functions of docs/conformance.md.
        dialect: torch, mindspore, tf_keras or keras, by any of its names.
        expected_failures: a TOML file of what is known to fail; what passes in spite of it fails.
        examples: number of drawn cases.
        seed: of the drawn cases; the same seed draws the same.
        progress: is told the name of what is asked.

    Raises:
        InvalidValue: the adapter lacks a function, or the dialect has no questions.

    >>> conform(object(), "torch")
    Traceback (most recent call last):
    batchnorm.errors.InvalidValue: an adapter has the functions construct, ...
    """
    name = find(dialect).name
    if name not in FRAMEWORKS:
        raise InvalidValue(f"{dialect} can't be asked; known: {', '.join(FRAMEWORKS)}")
    subject, ours = Adapted(adapter, name), Ours(name)
    known = {} if expected_failures is None else expected.read(expected_failures, seed)
    asked = [q for q in QUESTIONS if q.experiment is not None and name in q.asked_of]
    never = set(known) - {q.id for q in asked} - {f"case {n}" for n in range(examples)}
    results = []
    for result in _all(subject, ours, asked, examples, seed):
        results.append(_judged(result, known))
        if progress is not None:
            progress(result.name)
    results += [Result(n, "not asked", reason=f"expected, but not drawn or put to {name}")
                for n in sorted(never)]  # fmt: skip
    return Report(subject.label, name, ours.version, seed, examples, tuple(results))


def _all(
    subject: Adapted, ours: Ours, asked: list[Question], examples: int, seed: int
) -> Iterator[Result]:
    answers = recorded(ours.dialect, ours.version)
    jobs: list[tuple[str, str, Callable[[], Result | None]]] = [
        (q.id, q.text.en, lambda q=q: _question(q, subject, ours, answers))  # type: ignore[misc]
        for q in asked
    ]
    for number in range(examples):
        case = draw(Seeded(seed, ours.dialect, number), ours.dialect)
        jobs.append((f"case {number}", str(case), lambda case=case: _case(case, subject, ours)))  # type: ignore[misc]
    for name, what, job in jobs:
        try:
            found = job() or Result(name, "passed")
        except NotOffered as error:
            found = Result(name, "not asked", reason=str(error))
        except Exception as error:  # an answer that no experiment can read is a wrong one
            got = f"{type(error).__name__}: {error}"
            found = Result(name, "failed", wanted="what can be compared", got=got)
        yield replace(found, name=name, what=what)


def _question(q: Question, subject: Adapted, ours: Ours, answers: dict[str, Any]) -> Result | None:
    got, own = ask(q, subject), ask(q, ours)
    wanted = answers.get(q.id, own)
    if same(q, wanted, got) or same(q, own, got):
        return None
    return Result(q.id, "failed", wanted=repr(wanted), got=repr(got))


def _case(case: Case, subject: Adapted, ours: Ours) -> Result | None:
    shows = all(hasattr(subject.adapter, name) for name in ("get", "repr"))
    own, theirs = (play(each, case, attributes=shows) for each in (ours, subject))
    found = compare(case, own, theirs).disagreement
    if found is None:
        return None
    names = deviations.classes(case, found.where)
    if deviations.find(deviations.read(), ours.dialect, "drawn", names, found.where) is not None:
        return None
    return Result("", "failed", where=found.where, wanted=found.theirs, got=found.ours)


def _judged(result: Result, known: dict[str, str]) -> Result:
    reason = known.get(result.name)
    if reason is None or result.outcome == "not asked":
        return result
    outcome = "expected" if result.outcome == "failed" else "passed unexpectedly"
    return replace(result, outcome=outcome, reason=reason)  # type: ignore[arg-type]
