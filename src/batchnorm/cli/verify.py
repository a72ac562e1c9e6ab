"""`batchnorm verify`: compare our layers with the frameworks that are installed."""

from __future__ import annotations

import itertools
import secrets
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from batchnorm.cli.output import console, echo, echo_json, is_terminal
from batchnorm.errors import InvalidValue
from batchnorm.frameworks import current, find
from batchnorm.printable import shown
from batchnorm.verify import FRAMEWORKS, Report, Row, verify
from batchnorm.verify.oracle import FRAMEWORKS as KNOWN
from batchnorm.verify.oracle import find as find_oracles
from batchnorm.verify.oracle import named, parse_oracle
from batchnorm.verify.verification import Progress as Told
from batchnorm.verify.verification import draw_on

__all__ = ["command"]

WIDTH = 140  # where the output is no terminal
INSTALL = "pip install 'batchnorm[frameworks]', or name the Python of another environment: "


@click.command
@click.option(
    "--framework",
    "frameworks",
    metavar="FRAMEWORK",
    multiple=True,
    help=f"Only this one of {', '.join(KNOWN)}, which must be there; repeatable. Default: of "
    f"{', '.join(FRAMEWORKS)}, those that are found.",
)
@click.option(
    "--oracle",
    "oracles",
    metavar="NAME=PYTHON",
    multiple=True,
    help="The Python of the environment that a framework lives in; repeatable.",
)
@click.option("--examples", type=click.IntRange(min=0), default=100, show_default=True)
@click.option(
    "--seed", type=int, help="Of the drawn cases. Default: 0; with --forever a fresh one."
)
@click.option(
    "--forever",
    is_flag=True,
    help="Draw EXAMPLES cases of one seed after the other until stopped (Ctrl-C, or SIGTERM as of "
    "`timeout`), and print each seed that fails.",
)
@click.option("--record", is_flag=True, help="Write down how the frameworks answer the questions.")
@click.option(
    "--answers",
    type=click.Path(exists=True, file_okay=False, writable=True, path_type=Path),
    metavar="DIR",
    help="Where --record writes. Default: into this package.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--strict", is_flag=True, help="A listed deviation that is gone is a failure too.")
@click.option("-v", "--verbose", is_flag=True, help="Show the listed deviations that occurred.")
def command(
    frameworks: tuple[str, ...],
    oracles: tuple[str, ...],
    examples: int,
    seed: int | None,
    forever: bool,
    record: bool,
    answers: Path | None,
    as_json: bool,
    strict: bool,
    verbose: bool,
) -> None:
    """Compare our layers with the real frameworks.

    Signatures; every question; calls at the edge of what is accepted; and EXAMPLES drawn cases:
    outputs, gradients and state over several steps, within bounds that follow from the
    framework's own arithmetic. Each framework runs in a process of its own.

    Exit code: 0 if everything is equal or a listed deviation, 1 if not, 2 if there was nothing to
    compare with.
    """
    if forever and (record or as_json or strict):
        raise InvalidValue("--forever prints seeds: without --record, --json and --strict")
    if forever and not examples:
        raise InvalidValue("--forever draws cases: --examples must be at least 1")
    if answers is not None and not record:
        raise InvalidValue("--answers says where --record writes: pass --record too")
    given = dict(parse_oracle(text) for text in oracles)
    frameworks = tuple(_asked(name, given) for name in frameworks)
    if forever:
        first = secrets.randbelow(10**9) if seed is None else seed
        sys.exit(_forever(frameworks, given, examples, first, verbose))
    with _progress(is_terminal(sys.stderr)) as told:
        report = verify(
            frameworks=frameworks or FRAMEWORKS,
            oracles=given,
            examples=examples,
            seed=seed or 0,
            record=answers or record,
            progress=told,
        )
    absent = [name for name in frameworks if name in report.missing]
    code = 0 if report.equal and not (strict and report.stale) else 1
    if not report.rows or absent:
        code = 2
    if as_json:
        echo_json(report.as_json(), indent=1, exit_code=code)
    else:
        _print(report, verbose)
    if not report.rows or absent:
        names = ", ".join(absent or report.missing)
        echo(
            f"batchnorm: nothing to compare with: {names} not found. {INSTALL}"
            f"--oracle {(absent or list(report.missing))[0]}=/path/to/python",
            error=True,
        )
    sys.exit(code)


def _forever(
    frameworks: tuple[str, ...], oracles: Mapping[str, str], examples: int, first: int, all_: bool
) -> int:
    """Seed after seed until stopped: the exit code."""
    failed: list[str] = []
    cases, seed = 0, first
    with find_oracles(frameworks or FRAMEWORKS, oracles, restart=True) as found:
        if not found.oracles or set(found.missing) & set(frameworks):
            names = ", ".join(found.missing)
            echo(f"batchnorm: nothing to compare with: {names} not found. {INSTALL}", error=True)
            return 2
        names = ", ".join(f"{o.framework} {o.version}" for o in found.oracles)
        echo(f"{names}: {examples} drawn cases each of the seeds from {first} on, until stopped")
        earlier = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            with _progress(is_terminal(sys.stderr)) as told:
                for seed, row in draw_on(found, itertools.count(first), examples, told):
                    cases += row.compared
                    if row.crash or row.unlisted:
                        again = f"--framework {row.framework} --examples {examples} --seed {seed}"
                        failed.append(again)
                        echo(f"\nseed {seed} fails: batchnorm verify {again}")
                        _print_problems([row])
                    elif all_:
                        echo(f"seed {seed}: {row.framework} {row.result}")
        except KeyboardInterrupt:
            pass
        finally:
            signal.signal(signal.SIGTERM, earlier)
    echo(f"\nstopped at seed {seed}: {cases} cases, {len(failed)} of their rows failed")
    for again in failed:
        echo(f"  batchnorm verify {again}")
    return 1 if failed else 0


def _asked(name: str, oracles: Mapping[str, str]) -> str:
    """The oracle of a name; an older version lives in another environment than this one."""
    found = named(name)
    if find(name.partition("/")[0]).older and found not in oracles:
        raise InvalidValue(
            f"{name} isn't what this environment holds: pass --oracle {found}=/path/to/python of "
            "one with that version"
        )
    return found


@contextmanager
def _progress(shown: bool) -> Iterator[Told | None]:
    if not shown:
        yield None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console(error=True), transient=True) as display:
        task = display.add_task("starting the frameworks")

        def told(framework: str, what: str, count: int) -> None:
            display.update(task, description=f"{framework}: {what} ({count})")

        yield told


def _print(report: Report, verbose: bool) -> None:
    out = console(width=WIDTH, highlight=False)
    table = Table(title=f"{report.examples} drawn cases each, seed {report.seed}")
    for name in ("framework", "version", "compared", "number", "refused", "furthest apart"):
        table.add_column(name, justify="right" if name in ("number", "refused") else "left")
    table.add_column("result")
    for row in report.rows:
        style = "red" if row.crash or row.unlisted else "green"
        cells = (row.framework, row.version, row.what, str(row.compared), str(row.raised or ""))
        texts = [Text(shown(cell)) for cell in (*cells, _apart(row))]
        table.add_row(*texts, Text(row.result, style))
    for name in report.missing:
        table.add_row(name, "", "", "", "", "", "not found")
    out.print(table)
    _print_problems(report.rows)
    if verbose:
        listed = {f.deviation: f for f in report.findings if f.deviation is not None}
        for deviation in listed:
            out.print(f"\nlisted: {deviation}\n  {deviation.link}", markup=False)
    for record in current():
        if record.sourced:
            out.print(f"\n{record.name}: not compared. {record.sourced[0]}", markup=False)
    for deviation in report.stale:
        out.print(f"\nlisted, but gone: {deviation}", markup=False)


def _print_problems(rows: Iterable[Row]) -> None:
    """Crashes, and disagreements that no list holds."""
    out, rows = console(width=WIDTH, highlight=False), list(rows)
    for row in rows:
        if row.crash:
            out.print(f"\n{row.framework}, {row.what}: {row.crash}", markup=False)
    for finding in (finding for row in rows for finding in row.unlisted):
        found = finding.disagreement
        text = f"\n{finding.framework} {finding.version}, {finding.what}: {finding.subject}"
        lines = (f"  at {found.where}", f"  theirs: {found.theirs}", f"  ours:   {found.ours}")
        out.print("\n".join((text, *lines)), markup=False)


def _apart(row: Row) -> str:
    worst = row.worst
    if worst is None or not worst.where:
        return ""
    share = f"{worst.of_tolerance:.0%} of what is allowed"
    return f"{share} ({worst.where}, {worst.relative:.0e} of the largest value)"
