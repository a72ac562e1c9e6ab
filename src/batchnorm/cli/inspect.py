"""`batchnorm inspect FILE`: a checkpoint's batch-norm layers, and signs of trouble."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from batchnorm.cli.output import console, echo_json
from batchnorm.convert import graph, inspect

__all__ = ["command"]


@click.command
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--from", "framework", metavar="FRAMEWORK", help="Whose names FILE has.")
@click.option(
    "--group", metavar="NAME", help="The dictionary, or beginning of names, with the model."
)
@click.option("--settings", metavar="FILE|TEXT", help="eps and momentum, as for convert.")
@click.option("--graph", "as_graph", is_flag=True, help="Print the layers and who feeds whom.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    file: Path,
    framework: str | None,
    group: str | None,
    settings: str | None,
    as_graph: bool,
    as_json: bool,
) -> None:
    """List the batch-norm layers of the checkpoint FILE.

    Exit code 1 if one looks wrong: a negative or zero variance, values that are not finite,
    statistics that were never updated, unless none of the model was (then it was never trained);
    and if FILE is one of several, or holds a part of a batch norm only.
    """
    if as_graph:
        structure = graph(file, framework=framework, group=group)
        if as_json:
            echo_json(structure.as_json(), exit_code=0)
        else:
            click.echo(structure.text())
        return
    found = inspect(file, framework=framework, group=group, settings=settings)
    if as_json:
        echo_json(found.as_json(), exit_code=found.exit_code)
    else:
        found.print(console())
    sys.exit(found.exit_code)
