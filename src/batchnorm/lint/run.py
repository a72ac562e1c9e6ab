"""A run of the linter: text, one file, or all files below paths."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

from batchnorm.lint.finding import Finding, Problem, Report
from batchnorm.lint.fix import Fix
from batchnorm.lint.linted import Linted
from batchnorm.lint.noqa import suppressed
from batchnorm.lint.settings import Settings
from batchnorm.source import NOTEBOOK, Notebook, find, names_a_batch_norm, work_on

__all__ = ["fixes", "lint_file", "lint_text", "look_through", "run", "worth_a_look"]

_BY_NAME = re.compile(rb"""(?i)['"][._]?bn['"]""")
_MOMENTUM = re.compile(rb"(?i)momentum")
_NORM = re.compile(rb"(?i)norm|(\b|_)bn(\b|_)")
_STEP = re.compile(rb"TrainOneStep|value_and_grad")


def lint_text(data: bytes, settings: Settings, path: Path = Path("-")) -> tuple[list[Finding], int]:
    """Run the rules on one file's bytes: the findings, and how many comments took away.

    Raises:
        SourceError: it does not parse.
    """
    return look_through(Linted(path, data, settings.ported_from), settings)


def lint_file(
    data: bytes, settings: Settings, path: Path
) -> tuple[list[Finding], int, list[Problem]]:
    """Run the rules on a file's bytes; a notebook's cells that can't be read are problems."""
    if path.suffix != NOTEBOOK:
        return *lint_text(data, settings, path), []
    notebook = Notebook(data)
    unread = [Problem(path, f"cell {number}: {reason}") for number, reason in notebook.unread]
    found, suppressed_ones = lint_text(notebook.code, settings, path)
    return [_in_cell(each, notebook) for each in found], suppressed_ones, unread


def look_through(file: Linted, settings: Settings) -> tuple[list[Finding], int]:
    """Run the rules on a parsed file: as `lint_text`."""
    found = _found(file, settings)
    kept = sorted(each for each in found if not suppressed(each, file.source))
    return kept, len(found) - len(kept)


def fixes(data: bytes, settings: Settings, path: Path) -> dict[Finding, Fix]:
    """The findings in a file's bytes that have a fix."""
    notebook = Notebook(data) if path.suffix == NOTEBOOK else None
    file = Linted(path, data if notebook is None else notebook.code, settings.ported_from)
    found = {e: fix for e, fix in _found(file, settings).items() if not suppressed(e, file.source)}
    placed = {e if notebook is None else _in_cell(e, notebook): f for e, f in found.items()}
    return {each: placed[each] for each in sorted(placed) if placed[each] is not None}  # type: ignore[misc]


def _found(file: Linted, settings: Settings) -> dict[Finding, Fix | None]:
    found: dict[tuple[str, int, int], tuple[Finding, Fix | None]] = {}
    rules = (r for r in settings.rules_for(file.path) if r.in_tests or not file.is_test)
    for rule in rules:
        for node, message, fix in rule.check(file):
            line, column = file.place(node)
            last, stop = file.end(node)
            key = rule.id, line, column  # a constant that many layers share is one finding
            if key not in found:
                place, text = (file.path, line, column), file.source.line(line)
                how = "" if fix is None else "safe" if fix.safe else "unsafe"
                said = Finding(*place, rule.id, message, last, stop, text=text, fix=how)
                found[key] = said, fix
    return dict(found.values())


def _in_cell(each: Finding, notebook: Notebook) -> Finding:
    cell, line = notebook.place(each.line)
    return replace(each, cell=cell, line=line, last_line=notebook.place(each.last_line)[1])


def run(
    paths: Iterable[Path],
    settings: Settings | None = None,
    *,
    jobs: int | None = None,
    progress: bool = False,
) -> Report:
    """Run the rules on files and folders.

    Args:
        paths: files, taken whatever they are called, and folders.
        settings: what to look for.
        jobs: how many processes; None for one per processor.
        progress: whether to show a bar on a terminal.
    """
    settings = settings or Settings()
    found = find(paths, settings.exclude, worth_a_look)
    report = Report(others=found.others, special=found.special)
    report.problems = [Problem(path, reason) for path, reason in found.errors]
    task = partial(_one, settings)
    for outcome in work_on(found.files, task, jobs=jobs, title="linting", progress=progress):
        if outcome.result is None:
            report.problems.append(Problem(outcome.path, outcome.error))
            continue
        report.files += 1
        findings, suppressed_ones, unread = outcome.result
        report.problems += unread
        report.findings += findings
        report.suppressed += suppressed_ones
    return report


def worth_a_look(data: bytes) -> bool:
    """Whether a file can have findings at all."""
    trains = b"mindspore" in data and _STEP.search(data)
    helped = _MOMENTUM.search(data) and _NORM.search(data)
    return bool(names_a_batch_norm(data) or _BY_NAME.search(data) or trains or helped)


def _one(settings: Settings, path: Path, data: bytes) -> tuple[list[Finding], int, list[Problem]]:
    return lint_file(data, settings, path)
