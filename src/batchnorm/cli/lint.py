"""`batchnorm lint`: the mistakes that people make with batch norms when they change frameworks."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click

from batchnorm.cli.output import echo, echo_json
from batchnorm.errors import BatchNormError
from batchnorm.lint.finding import Problem, Report
from batchnorm.lint.formats import FORMATS
from batchnorm.lint.pages import page
from batchnorm.lint.run import lint, lint_text
from batchnorm.lint.settings import Settings, from_pyproject, rule
from batchnorm.printable import shown

__all__ = ["command"]


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
    explained: str | None,
    jobs: int | None,
    quiet: bool,
) -> None:
    """Look through Python files and folders; - reads from standard input.

    A comment `# noqa: BN001` in a line takes that rule's findings in it away, `# noqa` all of them.
    The section [tool.batchnorm.lint] of the nearest pyproject.toml may have select, ignore,
    ported-from and exclude; options here are stronger, and --exclude adds to it.

    Exit code: 0 if nothing is found, 1 for findings, 2 for wrong usage or where files could not be
    read or parsed; those are named, and the others are looked through all the same.
    """
    if explained is not None:
        echo(page(rule(explained)), newline=False)
        return
    if not paths:
        raise click.UsageError("name files or folders, or --explain a rule")
    if Path("-") in paths and len(paths) > 1:
        raise click.UsageError("- is standard input: give it alone")
    settings = _settings(paths, select, ignore, ported_from, exclude)
    if paths == (Path("-"),):
        report = _standard_input(settings)
    else:
        report = lint(paths, settings, jobs=jobs, progress=not quiet)
    code = 2 if report.problems else 1 if report.findings else 0
    for line in FORMATS[form](report, quiet):
        if form == "json":
            echo_json(line, exit_code=code)
        else:
            echo(shown(line))
    sys.exit(code)


def _settings(
    paths: tuple[Path, ...],
    select: tuple[str, ...] | None,
    ignore: tuple[str, ...] | None,
    ported_from: str | None,
    exclude: tuple[str, ...],
) -> Settings:
    first = Path.cwd() if paths[0] == Path("-") else paths[0].resolve()
    found = dict(from_pyproject(first))
    given = {"select": select, "ignore": ignore, "ported_from": ported_from}
    found |= {key: value for key, value in given.items() if value is not None}
    found["exclude"] = (*found.get("exclude", ()), *exclude)
    return Settings(**found)


def _standard_input(settings: Settings) -> Report:
    path = Path("-")
    report = Report()
    try:
        data = sys.stdin.buffer.read()
        report.findings, report.suppressed = lint_text(data, settings, path)
        report.files = 1
    except BatchNormError as error:
        report.problems.append(Problem(path, str(error)))
    except RecursionError:
        report.problems.append(Problem(path, "is nested too deeply"))
    return report
