"""`batchnorm diagnose SOURCE PORT`: two models or their recordings compared.

Recordings need no framework; a model FILE.py:make_model is run here, by the Python that runs this.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from batchnorm.checkpoints.files import UNEXPECTED
from batchnorm.cli.input import language
from batchnorm.cli.output import echo, echo_json, is_terminal, replace_text
from batchnorm.cli.record import recorded
from batchnorm.convert.mapping import read_map
from batchnorm.diagnose import Recording, compare_recordings
from batchnorm.diagnose.files import load
from batchnorm.diagnose.page import document
from batchnorm.errors import BatchNormError, InvalidValue

__all__ = ["command"]

LANGUAGES = ("en", "zh")


@click.command
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("port", type=click.Path(path_type=Path))
@click.option("--batch", type=click.Path(path_type=Path), metavar="FILE.npz",
              help="What models are called with: one array, or several by name.")  # fmt: skip
@click.option("--layout", type=click.Choice(["NCHW", "NHWC"]),
              help="How the batch is laid out, if not as each model wants it.")  # fmt: skip
@click.option("--steps", type=click.IntRange(0), default=1, show_default=True,
              help="Training steps of models; 0 for inference alone.")  # fmt: skip
@click.option(
    "--map", "map_file", type=click.Path(path_type=Path), metavar="FILE",
    help="Names of the port by names of the source, as for convert.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE",
              help="Write a page with a picture of the model.")  # fmt: skip
@click.option("--lang", type=click.Choice(LANGUAGES), help="Default: the locale's, else en.")
def command(
    source: Path, port: Path, batch: Path | None, layout: str | None, steps: int,
    map_file: Path | None, as_json: bool, html: Path | None, lang: str | None,
) -> None:  # fmt: skip
    """Say by which causes the model PORT differs from SOURCE.

    Each is FILE.py:make_model, a function that gives the model (then say --batch), or a file of
    `batchnorm record`, made in the model's own environment on the same batch, or a folder with
    those of all processes that share one. Exit code 0 if nothing differs beyond
    the stated bounds, 1 if something does.
    """
    lang = lang or language(LANGUAGES)
    pairs = {name: pair.to for name, pair in read_map(map_file).layers.items() if pair.to}
    ours, theirs = (
        _ran(str(path), batch, layout, steps) if _is_model(path) else _loaded(path)
        for path in (source, port)
    )
    try:
        report = compare_recordings(ours, theirs, pairs)
        data = report.as_json()
        text = report.screen(lang, "| less") if is_terminal(sys.stdout) else report.text(lang)
        drawn = "" if html is None else document(report, lang)
    except BatchNormError:
        raise
    except UNEXPECTED as error:  # their values, each of its type, contradict one another
        raise InvalidValue(
            f"{source} and {port} can't be compared ({type(error).__name__}: {error}); one is "
            "damaged, or this is a bug of batchnorm: please report it"
        ) from error
    if html is not None:
        given = [] if batch is None else [batch]
        replace_text(html, drawn, inputs=(*_files(source), *_files(port), *given))
    if as_json:
        echo_json(data, exit_code=report.exit_code)
    else:
        echo(text)
    sys.exit(report.exit_code)


def _is_model(path: Path) -> bool:
    return ".py:" in path.name and not path.exists()


def _ran(model: str, batch: Path | None, layout: str | None, steps: int) -> list[Recording]:
    if batch is None:
        raise InvalidValue(f"{model} is a model: say what it is called with, --batch FILE.npz")
    return [recorded(model, batch, steps, layout, (0, 1))]


def _files(path: Path) -> list[Path]:
    if _is_model(path):
        return [Path(str(path).rpartition(":")[0])]
    return sorted(path.glob("*.bnrec")) if path.is_dir() else [path]


def _loaded(path: Path) -> list[Recording]:
    if not _files(path):
        raise InvalidValue(f"{path}: the folder holds no .bnrec file")
    return [load(file) for file in _files(path)]
