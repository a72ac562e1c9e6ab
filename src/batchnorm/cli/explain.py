"""`batchnorm explain A B`: the page on how two frameworks' batch normalizations differ."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from batchnorm.cli.input import FrameworkName, language
from batchnorm.cli.output import console, echo, echo_json, echo_utf8, is_terminal, replace_text
from batchnorm.errors import InvalidValue
from batchnorm.explain import FORMATS, brief, page
from batchnorm.explain.renderers.screen import print_screen
from batchnorm.explain.renderers.text import print_page
from batchnorm.explain.sections.rules import TOPICS
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
@click.argument("a", type=FrameworkName())
@click.argument("b", type=FrameworkName())
@click.option(
    "--format",
    type=click.Choice(list(FORMATS)),
    help="Default: by the suffix of FILE; else text on a terminal, md into a pipe.",
)
@click.option("--full", is_flag=True, help="The whole page, through a pager on a terminal.")
@click.option("--about", type=click.Choice(TOPICS), help="What the page says about one topic.")
@click.option("--silent", is_flag=True, help="Only what goes wrong without an error.")
@click.option("--json", "as_json", is_flag=True, help="As --format json.")
@click.option("--lang", type=click.Choice(LANGUAGES), help="Default: the locale's, else en.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write FILE: .md, .html, .json or .txt, or any other with --format; - is the output.",
)
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
def command(
    a: str,
    b: str,
    format: str | None,
    full: bool,
    about: str | None,
    silent: bool,
    as_json: bool,
    lang: str | None,
    output: Path | None,
    force: bool,
) -> None:
    """Explain what to do when a batch norm of A becomes one of B.

    A and B are torch, mindspore, tf_keras, keras or mint, with a version where it matters:
    mindspore@2.0, tf_keras@2.6. On a terminal that is one screen: the rules, worst first. The page
    with all that was measured is there with --full, and goes into files and pipes.
    """
    if sum((full, about is not None, silent)) > 1:
        raise click.UsageError("--full, --about and --silent choose what is shown: give one")
    if as_json and format not in (None, "json"):
        raise click.UsageError(f"--json is --format json, but got --format {format} too")
    if output == Path("-"):
        output = None
    if output is not None and output.is_dir():
        raise InvalidValue(
            f"{output} is a folder; expected the name of a file, such as {output}/a.md"
        )
    if format is None:
        format = "json" if as_json else _format(output)
    if output is not None and os.path.lexists(output) and not force:  # a dangling link is there too
        raise InvalidValue(f"{output} exists; pass --force to replace it")
    lang = lang or language(LANGUAGES)
    on_terminal = output is None and format == "text" and is_terminal(sys.stdout)
    if silent or (on_terminal and not full and about is None):
        found = brief(a, b, lang, silent=silent)
    else:
        found = page(a, b, lang, about)
    if output is not None:
        replace_text(output, FORMATS[format](found))
    elif on_terminal and full:
        with (screen := console()).pager(styles=True):
            print_page(found, screen)
    elif on_terminal and about is not None:
        print_page(found, console())
    elif on_terminal:
        print_screen(found, console())
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
        return "text" if is_terminal(sys.stdout) else "md"
    if output.suffix.lower() not in SUFFIXES:
        raise InvalidValue(
            f"the format of {output} isn't known from its suffix {output.suffix!r}; pass --format, "
            f"or one of {', '.join(SUFFIXES)}"
        )
    return SUFFIXES[output.suffix.lower()]
