"""The whole linter as a function: settings, a run over files, and fixes. What the command does.

Not here: a run without settings of a project (`run`), and how a report is told (`formats`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from pathlib import Path

from batchnorm.errors import BatchNormError, InvalidValue
from batchnorm.lint.baseline import known_in, new_ones
from batchnorm.lint.finding import Finding, Problem, Report
from batchnorm.lint.fixes import Fixed, fixed
from batchnorm.lint.run import run
from batchnorm.lint.settings import Settings, for_project
from batchnorm.source import AnyPath, contents, listed, write

__all__ = ["lint"]


def lint(
    paths: AnyPath | Iterable[AnyPath],
    settings: Settings | None = None,
    *,
    select: Iterable[str] | None = None,
    ignore: Iterable[str] | None = None,
    ported_from: str | None = None,
    exclude: Iterable[str] = (),
    baseline: AnyPath | None = None,
    fix: bool = False,
    unsafe_fixes: bool = False,
    diff: bool = False,
    jobs: int | None = None,
    progress: bool = False,
    each: Callable[[Path, Fixed], None] | None = None,
) -> Report:
    """Look for mistakes that ports between frameworks make, in files and folders.

    Args:
        paths: a file or folder, or several; files are taken whatever they are called.
        settings: in place of the project's pyproject.toml and the next four.
        select: ids of rules to run, such as "BN001", or their beginnings.
        ignore: ids of rules to leave out; stronger than `select`.
        ported_from: the framework that the files are ported from, for BN003.
        exclude: regular expressions; paths in which one is found are left out.
        baseline: a file of findings that are known, as `--write-baseline` writes it.
        fix: write what has one right answer into the files.
        unsafe_fixes: with `fix`, what is likely as well.
        diff: with `fix`, change nothing; `each` is told what would be.
        jobs: how many processes; None for one per processor.
        progress: whether to show a bar on a terminal.
        each: is called with each file that is fixed.

    Raises:
        ValueError: an unknown rule or framework, no such path, no baseline.
    """
    given = listed(paths)
    missing = next((path for path in given if not path.exists()), None)
    if missing is not None:
        raise InvalidValue(f"{missing} does not exist; expected a file or folder")
    if (unsafe_fixes or diff) and not fix:
        raise InvalidValue("unsafe_fixes and diff are for fix: give both")
    known = None if baseline is None else known_in(Path(baseline))
    settings = settings or for_project(given, select, ignore, ported_from, exclude)
    report = run(given, settings, jobs=jobs, progress=progress)

    def new(findings: Iterable[Finding]) -> tuple[list[Finding], int]:
        if baseline is None or known is None:
            return list(findings), 0
        return new_ones(findings, known, Path(baseline))

    if fix:
        _fix(report, settings, lambda f: new(f)[0], unsafe_fixes, diff, each)
    report.findings, report.known = new(report.findings)
    return report


def _fix(
    report: Report,
    settings: Settings,
    wanted: Callable[[Iterable[Finding]], list[Finding]],
    unsafe: bool,
    diff: bool,
    each: Callable[[Path, Fixed], None] | None,
) -> None:
    """Fix files, unless only the difference is asked for; the report gets their findings anew."""
    findings, report.findings = report.findings, []
    for path, group in itertools.groupby(findings, lambda found: found.path):
        own = list(group)
        report.findings += own
        if not any(f.fix == "safe" or (f.fix and unsafe) for f in wanted(own)):
            continue
        try:
            done = fixed(contents(path), path, settings, unsafe=unsafe, wanted=wanted)
            if done.count and not diff:
                write(path, done.after, done.before)
                report.findings[-len(own) :] = done.left
        except (BatchNormError, OSError) as refused:
            report.problems.append(Problem(path, str(refused)))
            continue
        report.fixed += done.count
        if done.count and each is not None:
            each(path, done)
