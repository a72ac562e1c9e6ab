"""The suite itself: questions and drawn cases, put to an adapter and to our layers of a dialect.

A question passes with the answer that the real framework gave, or with ours where that deviates on
purpose; a case passes within the bounds of `verify.tolerance`, or where a deviation is listed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
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
from batchnorm.verify.play import Observation, play
from batchnorm.verify.verification import FRAMEWORKS, draw

__all__ = ["Check", "checks_of", "conform"]


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
    checks = checks_of(adapter, dialect, examples=examples, seed=seed)
    known = {} if expected_failures is None else expected.read(expected_failures, seed)
    never = set(known) - {check.name for check in checks}
    results = []
    for check in checks:
        results.append(check.run(known))
        if progress is not None:
            progress(check.name)
    where = find(dialect)
    results += [Result(n, "not asked", reason=f"expected, but not drawn or put to {where.name}")
                for n in sorted(never)]  # fmt: skip
    label = checks[0].label
    return Report(label, where.name, where.version, seed, examples, tuple(results))


@dataclass(frozen=True)
class Check:
    """One question or drawn case, not yet put.

    Attributes:
        name: the question's id, or "case 17".
        what: the question itself, or the layer and what is done with it.
        label: what the adapter is called.
        put: gives what differs, or None.
    """

    name: str
    what: str
    label: str
    put: Callable[[], Result | None]

    def run(self, known: Mapping[str, str]) -> Result:
        """Put it; `known` says what is expected to fail, and why."""
        try:
            found = self.put() or Result(self.name, "passed")
        except NotOffered as error:
            found = Result(self.name, "not asked", reason=str(error))
        except Exception as error:  # an answer that no experiment can read is a wrong one
            got = f"{type(error).__name__}: {error}"
            found = Result(self.name, "failed", wanted="what can be compared", got=got)
        return _judged(replace(found, name=self.name, what=self.what), known)


def checks_of(adapter: Any, dialect: str, *, examples: int = 100, seed: int = 0) -> list[Check]:
    """All that `conform` puts to an adapter, for whoever runs it one by one."""
    name = find(dialect).name
    if name not in FRAMEWORKS:
        raise InvalidValue(f"{dialect} can't be asked; known: {', '.join(FRAMEWORKS)}")
    subject, ours = Adapted(adapter, name), Ours(name)
    answers = recorded(name, ours.version)
    cases = {f"case {n}": draw(Seeded(seed, name, n), name) for n in range(examples)}
    return [
        *(
            Check(q.id, q.text.en, subject.label, partial(_question, q, subject, ours, answers))
            for q in QUESTIONS
            if q.experiment is not None and name in q.asked_of
        ),
        *(
            Check(number, str(case), subject.label, partial(_case, case, subject, ours))
            for number, case in cases.items()
        ),
    ]


def _question(q: Question, subject: Adapted, ours: Ours, answers: dict[str, Any]) -> Result | None:
    got, own = ask(q, subject), ask(q, ours)
    wanted = answers.get(q.id, own)
    if same(q, wanted, got) or same(q, own, got):
        return None
    return Result(q.id, "failed", wanted=repr(wanted), got=repr(got))


def _case(case: Case, subject: Adapted, ours: Ours) -> Result | None:
    shows = all(hasattr(subject.adapter, name) for name in ("get", "repr"))
    theirs = play(subject, case, attributes=shows)
    own = play(ours, case, attributes=shows, following=theirs)
    lacking = _lacking(subject, theirs)
    own = [seen for seen in own if seen.place.rpartition(" state ")[2] not in lacking]
    found = compare(case, own, theirs).disagreement
    if found is None:
        return None
    names = deviations.classes(case, found.where)
    if deviations.find(deviations.read(), ours.dialect, "drawn", names, found.where) is not None:
        return None
    return Result("", "failed", where=found.where, wanted=found.theirs, got=found.ours)


def _lacking(subject: Adapted, theirs: list[Observation]) -> set[str]:
    """Entries of the state that the adapter says may not be there, and that aren't."""
    seen = {observation.place.rpartition(" state ")[2] for observation in theirs}
    return set(getattr(subject.adapter, "without", ())) - seen


def _judged(result: Result, known: Mapping[str, str]) -> Result:
    reason = known.get(result.name)
    if reason is None or result.outcome == "not asked":
        return result
    outcome = "expected" if result.outcome == "failed" else "passed unexpectedly"
    return replace(result, outcome=outcome, reason=reason)  # type: ignore[arg-type]
