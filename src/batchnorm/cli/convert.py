"""`batchnorm convert SOURCE TARGET`: a checkpoint of one framework as another's."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

from batchnorm.cli.output import console, echo, echo_json, is_terminal, replace_text
from batchnorm.convert import convert
from batchnorm.errors import InvalidValue

__all__ = ["command"]

EXAMPLES = """\b
Examples:
  batchnorm convert net.pth net.ckpt
  batchnorm convert net.pth net.keras --like template.keras --dump-map map.toml
  batchnorm convert net.ckpt net.pth --map map.toml --settings "eps=1e-3"
"""
LARGE = 64 << 20  # bytes from which on progress is shown


@click.command(epilog=EXAMPLES)
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--from", "from_framework", metavar="FRAMEWORK", help="Whose names SOURCE has.")
@click.option(
    "--to",
    metavar="FRAMEWORK",
    help="Whose TARGET is, if its suffix doesn't say: torch, mindspore, keras, tf_keras.",
)
@click.option(
    "--like",
    type=click.Path(path_type=Path),
    metavar="TEMPLATE",
    help="A checkpoint of the target model: gives names, shapes and order.",
)
@click.option(
    "--map",
    "map_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Pairs of layers, in TOML; --dump-map writes one to begin with.",
)
@click.option(
    "--dump-map",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the map that was used, ready to edit.",
)
@click.option(
    "--settings",
    metavar="FILE|TEXT",
    help='eps and momentum in the source\'s words: "eps=1e-3,momentum=0.01", or TOML.',
)
@click.option(
    "--fold", is_flag=True, help="Fold batch norms into the layers before them, for deployment."
)
@click.option("--unfold", is_flag=True, help="Undo an earlier --fold.")
@click.option(
    "--group", metavar="NAME", help="The dictionary, or beginning of names, with the model."
)
@click.option(
    "--allow-missing",
    is_flag=True,
    help="Write although arrays have no counterpart, and exit with 0.",
)
@click.option(
    "--assume-order",
    is_flag=True,
    help="The target makes its layers in SOURCE's order: where nothing else tells layers of one "
    "shape apart, and for a Keras file written without --like.",
)
@click.option("--crc", is_flag=True, help="Append the CRC that MindSpore can verify.")
@click.option("--dry-run", is_flag=True, help="Report only.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
@click.option("-q", "--quiet", is_flag=True, help="Print what needs a look, and the summary.")
@click.option("--force", is_flag=True, help="Replace TARGET if it exists.")
def command(
    source: Path,
    target: Path,
    from_framework: str | None,
    to: str | None,
    like: Path | None,
    map_file: Path | None,
    dump_map: Path | None,
    settings: str | None,
    fold: bool,
    unfold: bool,
    group: str | None,
    allow_missing: bool,
    assume_order: bool,
    crc: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    force: bool,
) -> None:
    """Convert the checkpoint SOURCE into another framework's, TARGET.

    Exit code 0: every array has its place. 1: some have none, or it can't be told what they are;
    the report says which. With arrays that have no place, nothing is written unless
    --allow-missing. 2: bad input.
    """
    if dump_map is not None and dump_map.exists() and not force:
        raise InvalidValue(f"{dump_map} exists; pass --force to replace it")
    with _progress(source, hidden=as_json or dry_run) as progress:
        done = convert(
            source, target, from_framework=from_framework, to=to, like=like, map=map_file,
            settings=settings, fold=fold, unfold=unfold, group=group,
            allow_missing=allow_missing, force=force, dry_run=dry_run, crc=crc,
            assume_order=assume_order,
            progress=progress,
        )  # fmt: skip
    if dump_map is not None:
        inputs = [path for path in (source, target, like) if path is not None]
        replace_text(dump_map, done.map, inputs)
    if as_json:
        echo_json(done.report.as_json(), exit_code=done.report.exit_code)
    else:
        done.report.print(console(), table=not quiet)
        if not done.report.written and not dry_run:
            echo("give --like or --map, or pass --allow-missing to write it so", error=True)
    sys.exit(done.report.exit_code)


@contextmanager
def _progress(source: Path, *, hidden: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A bar on the terminal's error stream, for large files."""
    large = source.is_file() and source.stat().st_size >= LARGE
    if hidden or not large or not is_terminal(sys.stderr):
        yield None
        return
    with Progress(
        "converting", BarColumn(), DownloadColumn(), TransferSpeedColumn(),
        console=console(error=True), transient=True,
    ) as bar:  # fmt: skip
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
