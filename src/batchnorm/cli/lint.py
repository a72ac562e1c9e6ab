"""`batchnorm lint`: the mistakes that people make with batch norms when they change frameworks."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click

from batchnorm import __version__
from batchnorm.cli.input import standard_input
from batchnorm.cli.output import echo, echo_bytes, echo_json, echo_utf8, replace_text
from batchnorm.errors import BatchNormError
from batchnorm.lint.baseline import as_text, known_in, new_ones
from batchnorm.lint.finding import Problem, Report
from batchnorm.lint.fixes import Fixed
from batchnorm.lint.formats import FORMATS, Style
from batchnorm.lint.pages import page
from batchnorm.lint.run import lint_text
from batchnorm.lint.settings import Settings, for_project, rule
from batchnorm.lint.whole import lint
from batchnorm.printable import shown
from batchnorm.rewrite.report import diff as unified

__all__ = ["command"]

_FILE = click.Path(dir_okay=False, path_type=Path)


def _codes(context: click.Context, option: click.Parameter, value: str | None) -> object:
    return None if value is None else tuple(each for each in re.split(r"[,\s]+", value) if each)


@click.command("lint", short_help="Find mistakes that ports between frameworks make.")
@click.argument("paths", nargs=-1, type=click.Path(exists=True, allow_dash=True, path_type=Path))
@click.option("--select", callback=_codes, metavar="IDS", help="Only these rules: BN001,BN005.")
@click.option("--ignore", callback=_codes, metavar="IDS", help="All but these rules.")
@click.option(
    "--ported-from", metavar="FRAMEWORK", help="Where the files were ported from, for BN003."
)
@click.option("--exclude", multiple=True, metavar="REGEX", help="Leave such paths out.")
@click.option(
    "--format", "form", type=click.Choice(list(FORMATS)), default="text", show_default=True
)
@click.option("--json", "form", flag_value="json", help="As --format json.")
@click.option("--statistics", is_flag=True, help="Counts per rule in place of the findings.")
@click.option("--baseline", type=_FILE, metavar="FILE", help="Pass over the findings in FILE.")
@click.option(
    "--write-baseline", type=_FILE, metavar="FILE", help="Write all findings into FILE, and end."
)
@click.option("--fix", "fixing", is_flag=True, help="Write what has one right answer.")
@click.option("--unsafe-fixes", "unsafe", is_flag=True, help="--fix what has a likely answer, too.")
@click.option("--diff", is_flag=True, help="With --fix: change nothing, print what would change.")
@click.option("--exit-zero", is_flag=True, help="Exit with 0 in spite of findings.")
@click.option("--explain", "explained", metavar="ID", help="Print a rule's page and end.")
@click.option("-j", "--jobs", type=click.IntRange(1), help="Processes; one per processor.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar, no summary line.")
def command(
    paths: tuple[Path, ...],
    select: tuple[str, ...] | None,
    ignore: tuple[str, ...] | None,
    ported_from: str | None,
    exclude: tuple[str, ...],
    form: str,
    statistics: bool,
    baseline: Path | None,
    write_baseline: Path | None,
    fixing: bool,
    unsafe: bool,
    diff: bool,
    exit_zero: bool,
    explained: str | None,
    jobs: int | None,
    quiet: bool,
) -> None:
    """Look through Python files and folders; - reads from standard input.

    A comment `# noqa: BN001` in a line takes that rule's findings in it away, `# noqa` all of them.
    The section [tool.batchnorm.lint] of the nearest pyproject.toml may have select, ignore,
    ported-from, exclude, per-file-ignores and rule-url; options here are stronger, and --exclude
    adds to it.

    --write-baseline keeps what is found now, --baseline then tells what is new. A finding is known
    by its path (seen from FILE's folder), its rule and the text of its line, wherever that moves.

    --fix changes files, each at once, where a finding has one right answer: a momentum of the other
    convention in the layer's own call (BN001), the original's defaults (BN003), an axis (BN004), an
    attribute's or argument's own name (BN005, BN013), parentheses (BN009). --unsafe-fixes writes
    what is likely as well. All else is found as before.

    Exit code: 0 if nothing is found (with --fix: left), 1 for findings, 2 for wrong usage or where
    files could not be read or parsed; those are named, and the others are looked through all the
    same.
    """
    if explained is not None:
        echo(page(rule(explained)), newline=False)
        return
    if not paths:
        raise click.UsageError("name files or folders, or --explain a rule")
    if Path("-") in paths and len(paths) > 1:
        raise click.UsageError("- is standard input: give it alone")
    if baseline is not None and write_baseline is not None:
        raise click.UsageError("--write-baseline writes all findings: give it without --baseline")
    if statistics and form not in ("text", "json"):
        raise click.UsageError(f"--statistics is for people and JSON: give it without {form}")
    if (diff or unsafe) and not fixing:
        raise click.UsageError(f"{'--diff' if diff else '--unsafe-fixes'} is for --fix: give both")
    if fixing and (write_baseline is not None or paths == (Path("-"),)):
        raise click.UsageError("--fix changes files: give it without --write-baseline and -")
    if fixing and form not in (("text",) if diff else ("text", "json")):
        raise click.UsageError(f"--fix{' --diff' * diff} can't be told as {form}")
    if paths == (Path("-"),):
        settings = for_project(paths, select, ignore, ported_from, exclude)
        report = _standard_input(settings)
        known = None if baseline is None else known_in(baseline)
        if baseline is not None and known is not None:
            report.findings, report.known = new_ones(report.findings, known, baseline)
    else:
        report = lint(
            paths,
            select=select,
            ignore=ignore,
            ported_from=ported_from,
            exclude=exclude,
            baseline=baseline,
            fix=fixing,
            unsafe_fixes=unsafe,
            diff=diff,
            jobs=jobs,
            progress=not quiet,
            each=_show if diff else None,
        )
    if write_baseline is not None:
        sys.exit(_write(report, write_baseline))
    would, report.fixed = report.fixed, 0 if diff else report.fixed
    code = 2 if report.problems else 1 if report.findings and not exit_zero else 0
    rule_url = for_project(paths).rule_url
    for line in FORMATS[form](report, Style(quiet, statistics, rule_url, __version__)):
        if form == "json":
            echo_json(line, exit_code=code)
        elif form in ("gitlab", "sarif"):  # formats of others, without our envelope
            echo_utf8(f"{line}\n")
        else:
            echo(shown(line), error=diff)
    if diff and not quiet:
        echo(f"--fix{' --unsafe-fixes' * unsafe} would fix {would} of them.", error=True)
    sys.exit(code)


def _show(path: Path, done: Fixed) -> None:
    text = unified(path.as_posix(), done.before, done.after)
    echo_bytes(text.encode("utf-8", "surrogateescape"))


def _write(report: Report, baseline: Path) -> int:
    """Keep the findings; what could not be read is told, and is the exit code."""
    replace_text(baseline, as_text(report.findings, baseline))
    for problem in report.problems:
        echo(shown(f"{problem.path}: not linted: {problem.message}"), error=True)
    echo(shown(f"{baseline}: {len(report.findings)} findings known"), error=True)
    return 2 if report.problems else 0


def _standard_input(settings: Settings) -> Report:
    path = Path("-")
    report = Report()
    try:
        data = standard_input()
        report.findings, report.suppressed = lint_text(data, settings, path)
        report.files = 1
    except BatchNormError as error:
        report.problems.append(Problem(path, str(error)))
    except RecursionError:
        report.problems.append(Problem(path, "is nested too deeply"))
    return report
