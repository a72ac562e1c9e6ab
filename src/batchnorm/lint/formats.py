"""A report as lines for people, JSON, GitHub's workflow commands, GitLab's code quality, SARIF.

Not here: the envelope that the command's own JSON has (`batchnorm.cli.output`), SARIF's fields
(`sarif`), and what makes a finding the same in another run (`identity`). Facts: GitHub, workflow
commands for Actions; GitLab, code quality report format.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchnorm.lint.finding import Finding, Report
from batchnorm.lint.identity import fingerprints, relative
from batchnorm.lint.sarif import sarif
from batchnorm.lint.settings import link, rule
from batchnorm.printable import json_text

__all__ = ["FORMATS", "SCHEMA", "Style"]

SCHEMA = 1
"""The version of the JSON; it changes when a field changes its meaning or goes away."""


@dataclass(frozen=True)
class Style:
    """How a report is told.

    Attributes:
        quiet: without a summary.
        statistics: counts per rule in place of the findings, in text.
        rule_url: where the rules' pages are, as `Settings` has it.
        version: of this package, for SARIF.
    """

    quiet: bool = False
    statistics: bool = False
    rule_url: str | None = None
    version: str = ""


def text(report: Report, style: Style) -> Iterator[str]:
    """One line per finding or rule, then what could not be read, then a summary."""
    if style.statistics:
        for code, number in _counted(report).items():
            yield f"{number:7} {code} {rule(code).name}"
    for each in () if style.statistics else report.findings:
        yield f"{each.place}: {each.rule} {each.message}"
    for problem in report.problems:
        yield f"{problem.path}: not linted: {problem.message}"
    if not style.quiet:
        yield _summary(report)
        for code in _counted(report) if style.rule_url else ():
            yield f"{code}: {link(rule(code), style.rule_url)}"


def _counted(report: Report) -> dict[str, int]:
    """Rules by how often they found something, the most frequent one first."""
    counted = Counter(each.rule for each in report.findings)
    return dict(sorted(counted.items(), key=lambda each: (-each[1], each[0])))


def _summary(report: Report) -> str:
    rules = ", ".join(f"{code} {number}" for code, number in sorted(_counted(report).items()))
    parts = [f"{_many(len(report.findings), 'finding')}{f' ({rules})' if rules else ''} in "
             f"{_many(report.files, 'file')}"]  # fmt: skip
    if report.suppressed:
        parts.append(f"{report.suppressed} suppressed by noqa")
    if report.fixed:
        parts.append(f"{report.fixed} fixed")
    safe, unsafe = (sum(each.fix == how for each in report.findings) for how in ("safe", "unsafe"))
    if safe:
        parts.append(f"--fix would fix {safe}")
    if unsafe:
        parts.append(f"--fix --unsafe-fixes would fix {unsafe}{' more' * bool(safe)}")
    if report.known:
        parts.append(f"{report.known} known by the baseline")
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


def as_json(report: Report, style: Style) -> Iterator[str]:
    """One object, whatever the style but for its links."""
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
                "url": link(rule(each.rule), style.rule_url),
                "message": each.message,
                "fix": each.fix or None,
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
        "known": report.known,
        "fixed": report.fixed,
        "statistics": _counted(report),
    }
    yield json.dumps(content, indent=2, ensure_ascii=False)


def github(report: Report, style: Style) -> Iterator[str]:
    """Annotations that GitHub shows beside the lines of a pull request."""
    for each in report.findings:
        title = _property(f"{each.rule} {rule(each.rule).name}")
        where = f"file={_property(each.path.as_posix())},{_region(each)},title={title}"
        yield f"::warning {where}::{_data(each.placed_message)}"
    for problem in report.problems:
        yield f"::error file={_property(problem.path.as_posix())}::{_data(problem.message)}"


def _region(finding: Finding) -> str:
    """The lines; columns as well inside of one line, which is what GitHub takes."""
    if finding.cell:
        return "line=1"
    if finding.last_line != finding.line:
        return f"line={finding.line},endLine={finding.last_line}"
    return f"line={finding.line},col={finding.column},endColumn={finding.last_column}"


def _data(value: str) -> str:
    return value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: str) -> str:
    return _data(value).replace(":", "%3A").replace(",", "%2C")


def gitlab(report: Report, style: Style) -> Iterator[str]:
    """The array that GitLab takes as an artifact; paths are seen from the working folder."""
    prints = fingerprints(report.findings, Path.cwd())
    content = [
        {
            "description": f"{each.rule} {rule(each.rule).name}: {each.placed_message}",
            "check_name": each.rule,
            "fingerprint": fingerprint,
            "severity": "major",
            "location": _lines(each.path, each.line, each.last_line, each.cell),
        }
        for each, fingerprint in zip(report.findings, prints, strict=True)
    ]
    unread = [Finding(each.path, 1, 1, "not-linted", each.message, 1) for each in report.problems]
    content += [
        {
            "description": f"not linted: {each.message}",
            "check_name": each.rule,
            "fingerprint": fingerprint,
            "severity": "critical",
            "location": _lines(each.path, 1, 1),
        }
        for each, fingerprint in zip(unread, fingerprints(unread, Path.cwd()), strict=True)
    ]
    yield json_text(content, 2)


def _lines(path: Path, first: int, last: int, cell: int = 0) -> dict[str, Any]:
    """A place as GitLab has it; a notebook's lines are none of the file's."""
    lines = {"begin": 1, "end": 1} if cell else {"begin": first, "end": last}
    return {"path": relative(path, Path.cwd()), "lines": lines}


def as_sarif(report: Report, style: Style) -> Iterator[str]:
    """One log."""
    yield json_text(sarif(report, style.version, style.rule_url), 2)


FORMATS: Mapping[str, Callable[[Report, Style], Iterator[str]]] = {
    "text": text,
    "json": as_json,
    "github": github,
    "gitlab": gitlab,
    "sarif": as_sarif,
}
