"""`batchnorm rewrite PATH…`: source code of one framework with another's batch norms."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import click

from batchnorm.cli.input import FrameworkName, standard_input
from batchnorm.cli.output import echo, echo_bytes, echo_json
from batchnorm.errors import BatchNormError
from batchnorm.frameworks import find as find_framework
from batchnorm.frameworks import known
from batchnorm.printable import shown
from batchnorm.rewrite import Rewritten, rewrite
from batchnorm.rewrite.report import Report, diff, site_lines
from batchnorm.rewrite.run import task

__all__ = ["command"]

_NAMES = ", ".join(record.name for record in known())


@click.command("rewrite", short_help="Carry batch-norm code over to another framework.")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))
@click.option("--from", "from_", metavar="FRAMEWORK", help=f"One of {_NAMES}.")
@click.option(
    "--written-as",
    metavar="FRAMEWORK",
    help="In place of --from: imports are --to's already, numbers and names still this one's.",
)
@click.option("--to", required=True, type=FrameworkName(), help="Another of them.")
@click.option("--write", "writing", is_flag=True, help="Change the files, each at once.")
@click.option(
    "--out-dir", type=click.Path(path_type=Path), help="Write a changed copy of the one PATH there."
)
@click.option("--check", is_flag=True, help="Print no diff: the exit code says it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, diffs included.")
@click.option("--rank", type=click.IntRange(2, 5), help="Rank of Keras layers' inputs, if unsaid.")
@click.option("--exclude", multiple=True, metavar="REGEX", help="Leave out paths; can be repeated.")
@click.option(
    "--jobs", "-j", type=click.IntRange(1), help="Processes (default: one per processor)."
)
@click.option("-q", "--quiet", is_flag=True, help="No progress, notes or summary.")
def command(
    paths: tuple[Path, ...],
    from_: str | None,
    written_as: str | None,
    to: str,
    writing: bool,
    out_dir: Path | None,
    check: bool,
    as_json: bool,
    rank: int | None,
    exclude: tuple[str, ...],
    jobs: int | None,
    quiet: bool,
) -> None:
    """Rewrite the batch norms in PATHs (files, folders, or - for standard input).

    Without --write nothing is changed, and a unified diff is printed, which `patch -p1` takes. What
    can't be carried over stays as it was, marked with the reason in a comment. Keras' package
    `keras`, and `tf.keras`, are what --from says; between tf_keras and keras each is what its name
    says.

    Exit code: 0 if nothing would change, 1 if something would, 2 for files that could not be read
    and for wrong usage. With --write 0 if no work is newly left: neither a mark nor a class around
    rewritten layers that still derives from the old framework's nets.
    """
    if (from_ is None) is (written_as is None):
        raise click.UsageError("give --from, or --written-as where the imports are --to's already")
    missing = [path for path in paths if path != Path("-") and not path.exists()]
    if missing:
        raise click.UsageError(f"{missing[0]} does not exist; expected a file or folder")
    try:
        one = task(from_, to, written_as, rank)
    except BatchNormError as refused:
        raise click.UsageError(str(refused)) from None
    source, to = find_framework(from_ or written_as or "").name, find_framework(to).name
    if writing and check:
        raise click.UsageError("--check changes nothing, and --write does: give one of them")
    if out_dir is not None and (writing or check):
        raise click.UsageError("--out-dir writes a copy: give it without --write and --check")
    if Path("-") in paths:
        if len(paths) > 1 or writing or out_dir is not None:
            raise click.UsageError("- is standard input: give it alone, and without --write")
        one = partial(one, Path("-.py"))
        sys.exit(_standard_input(one, source, to, check=check, as_json=as_json, quiet=quiet))
    changes = writing or out_dir is not None

    def show(path: Path, result: Rewritten) -> None:
        if not as_json:
            _show(str(path), result, show_diff=not (check or changes), quiet=quiet)

    try:
        report = rewrite(
            paths,
            from_=from_,
            to=to,
            written_as=written_as,
            write=writing,
            out_dir=out_dir,
            rank=rank,
            exclude=exclude,
            jobs=jobs,
            progress=not (quiet or as_json),
            each=show,
        )
    except BatchNormError as refused:
        raise click.UsageError(str(refused)) from None
    if as_json:
        echo_json(report.as_data(source, to), indent=2, exit_code=report.exit_code)
    else:
        for path, error in report.errors:
            echo(shown(f"{path}: {error}"), error=True)
        if not quiet:
            for path, kind in report.special:
                echo(f"{shown(path)}: skipped: is {kind}, no regular file", error=True)
            echo(shown(report.summary()), error=True)
    sys.exit(report.exit_code)


def _show(name: str, result: Rewritten, *, show_diff: bool, quiet: bool) -> None:
    if result.changed and show_diff:
        echo_bytes(diff(name, result.before, result.after).encode("utf-8", "surrogateescape"))
    if not quiet:
        for line in site_lines(name, result.sites):
            echo(shown(line), error=True)


def _standard_input(
    task: partial[Rewritten], from_: str, to: str, *, check: bool, as_json: bool, quiet: bool
) -> int:
    """Standard input goes to standard output, rewritten."""
    result = task(standard_input())
    report = Report()
    report.add(result, Path("-"))
    if as_json:
        echo_json(report.as_data(from_, to), indent=2, exit_code=report.exit_code)
    else:
        if not check:
            echo_bytes(result.after)
        if not quiet:
            for line in site_lines("-", result.sites):
                echo(shown(line), error=True)
    return report.exit_code
