"""`batchnorm rewrite PATH…`: source code of one framework with another's batch norms."""

from __future__ import annotations

import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from batchnorm.cli.output import echo, echo_bytes, echo_json
from batchnorm.errors import BatchNormError
from batchnorm.frameworks import find as find_framework
from batchnorm.frameworks import known
from batchnorm.printable import shown
from batchnorm.rewrite import Rewritten, rewrite_source, rewrite_written
from batchnorm.rewrite.report import SCHEMA, Report, diff, site_lines
from batchnorm.source import find, work_on, write

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
@click.option("--to", required=True, metavar="FRAMEWORK", help="Another of them.")
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

    Exit code: 0 if nothing would change (with --write: if nothing was newly left), 1 if something
    would, 2 for files that could not be read and for wrong usage.
    """
    if (from_ is None) is (written_as is None):
        raise click.UsageError("give --from, or --written-as where the imports are --to's already")
    from_ = find_framework(from_ or written_as or "").name
    to = find_framework(to).name
    if find_framework(from_).framework == find_framework(to).framework:
        raise click.UsageError(f"{from_} and --to {to} are one framework; expected two")
    if writing and check:
        raise click.UsageError("--check changes nothing, and --write does: give one of them")
    if Path("-") in paths:
        if len(paths) > 1 or writing:
            raise click.UsageError("- is standard input: give it alone, and without --write")
        task = partial(_task, Path("-.py"), from_=from_, to=to, rank=rank, written=bool(written_as))
        sys.exit(_standard_input(task, from_, to, check=check, as_json=as_json, quiet=quiet))
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise click.UsageError(f"{missing[0]} does not exist; expected a file or folder")
    task = partial(_task, from_=from_, to=to, rank=rank, written=bool(written_as))
    if out_dir is not None:
        paths, writing = (_copied(paths, out_dir, writing or check),), True
    found = find(paths, exclude)
    report = Report(others=found.others, errors=list(found.errors), special=found.special)
    files: list[dict[str, Any]] = []
    newly_left = False
    for outcome in work_on(
        found.files, task, jobs=jobs, title="rewriting", progress=not (quiet or as_json)
    ):
        if outcome.result is None:
            report.errors.append((outcome.path, outcome.error))
            continue
        result = outcome.result
        if writing and result.changed:
            try:
                write(outcome.path, result.after, result.before)
            except (BatchNormError, OSError) as refused:
                report.errors.append((outcome.path, str(refused)))
                continue
        report.add(result)
        report.errors += [(outcome.path, text) for text in result.unread]
        newly_left = newly_left or result.marked > 0
        files.append(_file(outcome.path, result))
        if not as_json:
            _show(str(outcome.path), result, show_diff=not (check or writing), quiet=quiet)
    open_ = newly_left if writing else bool(report.changed)
    code = 2 if report.errors else int(open_)
    if as_json:
        echo_json(_data(from_, to, files, report, code), indent=2, exit_code=code)
    else:
        for path, error in report.errors:
            echo(shown(f"{path}: {error}"), error=True)
        if not quiet:
            for path, kind in report.special:
                echo(f"{shown(path)}: skipped: is {kind}, no regular file", error=True)
            echo(shown(report.summary(written=writing)), error=True)
    sys.exit(code)


def _copied(paths: tuple[Path, ...], out_dir: Path, other: bool) -> Path:
    """The copy of the one path that is given, in a folder that holds nothing yet."""
    if other:
        raise click.UsageError("--out-dir writes a copy: give it without --write and --check")
    if len(paths) != 1:
        raise click.UsageError(f"--out-dir takes one PATH, but {len(paths)} are given")
    if out_dir.exists() and (not out_dir.is_dir() or any(out_dir.iterdir())):
        raise click.UsageError(f"{out_dir} holds something already: name a new folder")
    (path,) = paths
    if out_dir.resolve().is_relative_to(path.resolve()):
        raise click.UsageError(f"{out_dir} is inside of {path}: name a folder outside of it")
    if path.is_dir():
        shutil.copytree(path, out_dir, symlinks=True, ignore=_special, dirs_exist_ok=True)
        return out_dir
    out_dir.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy2(path, out_dir))


def _special(folder: str, names: list[str]) -> list[str]:
    """What can't be copied: pipes, sockets, devices."""
    places = {name: Path(folder, name) for name in names}
    return [n for n, p in places.items() if not (p.is_symlink() or p.is_file() or p.is_dir())]


def _task(
    path: Path, raw: bytes, *, from_: str, to: str, rank: int | None, written: bool
) -> Rewritten:
    """Rewrite one file; the nodes of its tree stay in the process that parsed it."""
    if written:
        found = rewrite_written(raw, written_as=from_, to=to, path=path)
    else:
        found = rewrite_source(raw, from_=from_, to=to, path=path, rank=rank)
    for site in found.sites:
        site.node = None
    return found


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
    result = task(sys.stdin.buffer.read())
    if as_json:
        report = Report()
        report.add(result)
        data = _data(from_, to, [_file(Path("-"), result)], report, int(result.changed))
        echo_json(data, indent=2, exit_code=data["exit_code"])
    else:
        if not check:
            echo_bytes(result.after)
        if not quiet:
            for line in site_lines("-", result.sites):
                echo(shown(line), error=True)
    return int(result.changed)


def _file(path: Path, result: Rewritten) -> dict[str, Any]:
    return {
        "path": str(path),
        "changed": result.changed,
        "sites": [site.as_data() for site in result.sites],
        "diff": diff(str(path), result.before, result.after) if result.changed else "",
    }


def _data(
    from_: str, to: str, files: list[dict[str, Any]], report: Report, code: int
) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "from": from_,
        "to": to,
        "files": files,
        "summary": report.as_data(),
        "exit_code": code,
    }
