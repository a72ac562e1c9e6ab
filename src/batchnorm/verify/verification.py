"""The comparison of our layers with the real frameworks: signatures, questions, calls, drawn cases.

Each framework answers from a process of its own (`oracle.py`); a crash ends the row it happens in
and no other. How cases are drawn, played and compared stands in the other files of this folder.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from batchnorm.frameworks import find as record_of
from batchnorm.frameworks import known
from batchnorm.layer import Layer
from batchnorm.questions import QUESTIONS, ask, record_answers, same
from batchnorm.questions.question import ASKED
from batchnorm.questions.subject import Ours
from batchnorm.read import read_layer
from batchnorm.verify import deviations, draw_features, draw_keras
from batchnorm.verify.bad_calls import bad_calls
from batchnorm.verify.compare import Disagreement, Distance, compare
from batchnorm.verify.deviations import Deviation
from batchnorm.verify.draw import Case, Chooser, Seeded
from batchnorm.verify.live import live_cases
from batchnorm.verify.oracle import Found, Oracle, OracleError, find
from batchnorm.verify.play import play
from batchnorm.verify.report import Finding, Report, Row
from batchnorm.verify.signatures import signatures

__all__ = [
    "FRAMEWORKS",
    "Progress",
    "compare_case",
    "draw",
    "draw_on",
    "ours_of",
    "verify",
    "verify_oracle",
]

FRAMEWORKS = tuple(record.name for record in ASKED)
Progress = Callable[[str, str, int], None]  # framework, what is compared, how many so far


def draw(choose: Chooser, dialect: str) -> Case:
    """Draw a case of any dialect."""
    if record_of(dialect).is_keras:
        return draw_keras.draw(choose, dialect)
    return draw_features.draw(choose, dialect)


def verify(
    layer: Any = None,
    *,
    frameworks: Iterable[str] = FRAMEWORKS,
    oracles: Mapping[str, str] | None = None,
    examples: int = 100,
    seed: int = 0,
    record: Path | bool = False,
    progress: Progress | None = None,
) -> Report:
    """Compare our layers with every framework that is found, or one layer with its framework.

    Args:
        layer: a layer of ours or a real framework's, whose settings and state are compared on
            drawn data; then only its framework is asked. None compares everything.
        frameworks: torch, mindspore, tf_keras, keras, keras/torch, keras/jax.
        oracles: framework -> Python, for frameworks that live in another environment.
        examples: number of drawn cases per framework.
        seed: of the drawn cases; the same seed draws the same.
        record: whether the real answers to the questions are written into the package, or the
            folder that they are written to.
        progress: is told what is being compared.

    Raises:
        OracleError: a framework isn't where `oracles` says.
        TypeError: `layer` is no batch norm that can be read.
    """
    own = None if layer is None else read_layer(layer)
    if own is not None:
        frameworks = (own.FRAMEWORK,)
        oracles = {k: v for k, v in (oracles or {}).items() if k == own.FRAMEWORK}
    rows: list[Row] = []
    stale: list[Deviation] = []
    with find(frameworks, oracles, restart=True) as found:
        for oracle in found.oracles:
            new = list(verify_oracle(oracle, examples, seed, progress, own))
            rows += new
            stale += [] if own is not None else _stale(oracle, new)
            if record is not False:
                row = Row(oracle.framework, oracle.version, "recording")
                with _crash_in(row):
                    record_answers(oracle, oracle.framework, None if record is True else record)
                rows += [row] if row.crash else []
        missing = {name: str(error) for name, error in found.missing.items()}
    return Report(tuple(rows), missing, tuple(stale), seed, examples)


def verify_oracle(
    oracle: Oracle,
    examples: int,
    seed: int = 0,
    progress: Progress | None = None,
    layer: Layer | None = None,
    *,
    only: str | None = None,
) -> Iterator[Row]:
    """Compare with one framework: a row for each kind of comparison; one, given a layer or kind."""
    ours = ours_of(oracle)
    told = progress or (lambda framework, what, count: None)
    kinds: dict[str, Callable[[Row], Iterator[None]]] = {
        "signatures": lambda row: _signatures(row, oracle, ours),
        "questions": lambda row: _questions(row, oracle, ours),
        "calls at the edge": lambda row: _cases(row, oracle, ours, bad_calls(oracle.dialect)),
        "drawn cases": lambda row: _cases(
            row,
            oracle,
            ours,
            (_drawn(oracle, Seeded(seed, oracle.dialect, n)) for n in range(examples)),
        ),
    }
    if layer is not None:
        cases = live_cases(layer, examples, seed)
        kinds = {"this layer on drawn data": lambda row: _cases(row, oracle, ours, cases)}
    for what, run in kinds.items():
        if only not in (None, what):
            continue
        row = Row(oracle.framework, oracle.version, what)
        with _crash_in(row):
            for _ in run(row):
                row.compared += 1
                told(oracle.framework, what, row.compared)
        yield row


def _drawn(oracle: Oracle, choose: Chooser) -> Case:
    """Draw a case without what an older version doesn't have yet."""
    case = draw(choose, oracle.dialect)
    absent = record_of(variant(oracle.dialect, oracle.version) or oracle.dialect).absent
    steps = tuple(replace(step, mask="") if "mask" in absent else step for step in case.steps)
    known = {name: value for name, value in case.arguments.items() if name not in absent}
    return replace(case, arguments=known, steps=steps)


def draw_on(
    found: Found, seeds: Iterable[int], examples: int, progress: Progress | None = None
) -> Iterator[tuple[int, Row]]:
    """Drawn cases alone, of one seed after the other: the seed, and a row for each framework."""
    for seed in seeds:
        for oracle in found.oracles:
            for row in verify_oracle(oracle, examples, seed, progress, only="drawn cases"):
                yield seed, row


def ours_of(oracle: Oracle) -> Ours:
    """Give our layers of the oracle's dialect, in its version's variant where there is one."""
    return Ours(variant(oracle.dialect, oracle.version) or oracle.dialect)


def variant(dialect: str, version: str) -> str:
    """Name the older dialect that a version belongs to, such as "mindspore@2.0"; "" for none."""
    for record in known():
        older = record.name.partition("@")[2]
        if older and record.framework == dialect and f"{version}.".startswith(f"{older}."):
            return record.name
    return ""


def compare_case(oracle: Any, ours: Any, case: Case) -> tuple[Finding | None, Distance, bool]:
    """Play one case on both: the finding, the worst distance, whether the real layer refused."""
    one_pass = oracle.framework in record_of(oracle.framework.partition("/")[0]).arithmetic.one_pass
    theirs = play(oracle, case)
    own = play(ours, case, following=theirs)
    outcome = compare(case, theirs, own, one_pass=one_pass)
    if outcome.disagreement is None:
        return None, outcome.worst, outcome.raised
    place = outcome.disagreement.where
    kind, names = ("call", [case.name]) if case.name else ("drawn", deviations.classes(case, place))
    name = variant(oracle.dialect, oracle.version) or oracle.framework
    listed = deviations.find(deviations.read(), name, kind, names, place)
    finding = Finding(
        oracle.framework,
        oracle.version,
        kind,
        case.name or str(case),
        outcome.disagreement,
        listed,
    )
    return finding, outcome.worst, outcome.raised


def _cases(row: Row, oracle: Oracle, ours: Ours, cases: Iterable[Case]) -> Iterator[None]:
    for case in cases:
        try:
            finding, distance, raised = compare_case(oracle, ours, case)
        except OracleError as error:
            row.crash = f"{error} (while playing {case.name or case})"
            return
        row.raised += raised
        row.findings += [] if finding is None else [finding]
        row.worst = distance if row.worst is None else max(row.worst, distance)
        yield


def _signatures(row: Row, oracle: Oracle, ours: Ours) -> Iterator[None]:
    for name, disagreement in signatures(oracle, ours):
        _note(row, oracle, "signature", name, disagreement)
        yield


def _questions(row: Row, oracle: Oracle, ours: Ours) -> Iterator[None]:
    for question in QUESTIONS:
        if question.experiment is None or oracle.dialect not in question.asked_of:
            continue
        theirs, own = ask(question, oracle), ask(question, ours)
        if same(question, theirs, own):
            _note(row, oracle, "question", question.id, None)
        else:
            found = Disagreement(question.id, repr(theirs), repr(own))
            _note(row, oracle, "question", question.id, found)
        yield


def _note(row: Row, oracle: Oracle, kind: str, name: str, found: Disagreement | None) -> None:
    if found is not None:
        asked = variant(oracle.dialect, oracle.version) or oracle.framework
        listed = deviations.find(deviations.read(), asked, kind, [name])
        row.findings.append(Finding(oracle.framework, oracle.version, kind, name, found, listed))


@contextlib.contextmanager
def _crash_in(row: Row) -> Iterator[None]:
    try:
        yield
    except OracleError as error:
        row.crash = str(error)


def _stale(oracle: Oracle, rows: list[Row]) -> list[Deviation]:
    """Give the deviations of this framework and version that did not occur.

    Drawn ones are left out: that a class was not drawn, or agreed by chance, says nothing.
    """
    occurred = {finding.deviation for row in rows for finding in row.findings}
    crashed = any(row.crash for row in rows)
    return [
        listed
        for listed in deviations.read()
        if listed.dialect == oracle.dialect
        and listed.kind != "drawn"
        and not crashed
        and (not listed.frameworks or oracle.framework in listed.frameworks)
        and oracle.version in listed.versions
        and listed not in occurred
    ]
