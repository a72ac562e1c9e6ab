"""`batchnorm explain A B`: the page on how two frameworks' batch normalizations differ."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from batchnorm.cli.output import console, echo, echo_json, echo_utf8, replace_text
from batchnorm.errors import InvalidValue
from batchnorm.explain import FORMATS, page
from batchnorm.explain.renderers.text import print_page
from batchnorm.explain.words import LANGUAGES

__all__ = ["command"]

SUFFIXES = {
    ".md": "md",
    ".markdown": "md",
    ".json": "json",
    ".html": "html",
    ".htm": "html",
    ".txt": "text",
}


@click.command
@click.argument("a")
@click.argument("b")
@click.option(
    "--format",
    type=click.Choice(list(FORMATS)),
    help="Default: by the suffix of FILE; else text on a terminal, md into a pipe.",
)
@click.option("--lang", type=click.Choice(LANGUAGES), default="en", show_default=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write FILE: .md, .html, .json or .txt, or any other with --format; - is the output.",
)
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
def command(
    a: str, b: str, format: str | None, lang: str, output: Path | None, force: bool
) -> None:
    """Explain how the batch normalizations of A and B differ.

    A and B are torch, mindspore, tf_keras or keras, with a version where it matters:
    mindspore@2.0, tf_keras@2.6.
    """
    if output == Path("-"):
        output = None
    if output is not None and output.is_dir():
        raise InvalidValue(
            f"{output} is a folder; expected the name of a file, such as {output}/a.md"
        )
    if format is None:
        format = _format(output)
    if output is not None and os.path.lexists(output) and not force:  # a dangling link is there too
        raise InvalidValue(f"{output} exists; pass --force to replace it")
    found = page(a, b, lang)
    if output is not None:
        replace_text(output, FORMATS[format](found))
    elif format == "text" and sys.stdout.isatty():
        print_page(found, console())
    else:
        text = FORMATS[format](found)
        if format == "json":
            echo_json(text)
        elif format == "html":
            echo_utf8(text)
        else:
            echo(text, newline=False)


def _format(output: Path | None) -> str:
    if output is None:
        return "text" if sys.stdout.isatty() else "md"
    if output.suffix.lower() not in SUFFIXES:
        raise InvalidValue(
            f"the format of {output} isn't known from its suffix {output.suffix!r}; pass --format, "
            f"or one of {', '.join(SUFFIXES)}"
        )
    return SUFFIXES[output.suffix.lower()]
