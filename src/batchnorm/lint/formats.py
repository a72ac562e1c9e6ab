"""A report as lines of text: for people, as JSON, and as GitHub's workflow commands."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from batchnorm.lint.finding import Report
from batchnorm.lint.settings import rule

__all__ = ["FORMATS", "SCHEMA"]

SCHEMA = 1
"""The version of the JSON; it changes when a field changes its meaning or goes away."""


def text(report: Report, quiet: bool) -> Iterator[str]:
    """One line per finding, then what could not be read, then a summary."""
    for each in report.findings:
        yield f"{each.place}: {each.rule} {each.message}"
    for problem in report.problems:
        yield f"{problem.path}: not linted: {problem.message}"
    if not quiet:
        yield _summary(report)


def _summary(report: Report) -> str:
    counted = Counter(each.rule for each in report.findings)
    rules = ", ".join(f"{code} {number}" for code, number in sorted(counted.items()))
    parts = [f"{_many(len(report.findings), 'finding')}{f' ({rules})' if rules else ''} in "
             f"{_many(report.files, 'file')}"]  # fmt: skip
    if report.suppressed:
        parts.append(f"{report.suppressed} suppressed by noqa")
    if report.problems:
        parts.append(f"{_many(len(report.problems), 'file')} not linted")
    if report.others:
        parts.append(f"{_many(report.others, 'file')} without batch norms passed over")
    if report.special:
        kinds = ", ".join(f"{path} ({kind})" for path, kind in report.special)
        parts.append(f"no regular files: {kinds}")
    return "; ".join(parts) + "."


def _many(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def as_json(report: Report, quiet: bool) -> Iterator[str]:
    """One object."""
    content = {
        "schema": SCHEMA,
        "findings": [
            {
                "path": each.path.as_posix(),
                "line": each.line,
                "column": each.column,
                "end_line": each.last_line,
                "end_column": each.last_column,
                "cell": each.cell or None,
                "rule": each.rule,
                "name": rule(each.rule).name,
                "message": each.message,
            }
            for each in report.findings
        ],
        "problems": [
            {"path": each.path.as_posix(), "message": each.message} for each in report.problems
        ],
        "files": report.files,
        "passed_over": report.others,
        "special": [{"path": path.as_posix(), "kind": kind} for path, kind in report.special],
        "suppressed": report.suppressed,
    }
    yield json.dumps(content, indent=2, ensure_ascii=False)


def github(report: Report, quiet: bool) -> Iterator[str]:
    """Annotations that GitHub shows beside the lines of a pull request."""
    for each in report.findings:
        where = f"file={_property(each.path.as_posix())},line={each.line},col={each.column}"
        title = _property(f"{each.rule} {rule(each.rule).name}")
        yield f"::warning {where},title={title}::{_data(each.message)}"
    for problem in report.problems:
        yield f"::error file={_property(problem.path.as_posix())}::{_data(problem.message)}"


def _data(value: str) -> str:
    return value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: str) -> str:
    return _data(value).replace(":", "%3A").replace(",", "%2C")


FORMATS: Mapping[str, Callable[[Report, bool], Iterator[str]]] = {
    "text": text,
    "json": as_json,
    "github": github,
}
