"""`batchnorm inspect FILE...`: checkpoints' batch-norm layers, and signs of trouble."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from batchnorm.cli.output import console, echo, echo_json
from batchnorm.convert import graph, inspect
from batchnorm.convert.inspect import Inspection
from batchnorm.graph import Graph
from batchnorm.printable import shown

__all__ = ["command"]


@click.command
@click.argument("files", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--from", "framework", metavar="FRAMEWORK", help="Whose names FILES have.")
@click.option(
    "--group", metavar="NAME", help="The dictionary, or beginning of names, with the model."
)
@click.option("--settings", metavar="FILE|TEXT", help="eps and momentum, as for convert.")
@click.option("--graph", "as_graph", is_flag=True, help="Print the layers and who feeds whom.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    files: tuple[Path, ...],
    framework: str | None,
    group: str | None,
    settings: str | None,
    as_graph: bool,
    as_json: bool,
) -> None:
    """List the batch-norm layers of the checkpoints FILES, one after the other.

    Exit code 1 if one looks wrong: a negative or zero variance, values that are not finite,
    statistics that were never updated, unless none of the model was (then it was never trained);
    and if a file is one of several, or holds a part of a batch norm only. With several FILES the
    code is the highest, and --json has them as `files`.
    """
    found: list[Graph | Inspection] = []
    for file in files:
        if as_graph:
            found.append(graph(file, framework=framework, group=group))
        else:
            found.append(inspect(file, framework=framework, group=group, settings=settings))
        if as_json:
            continue
        if len(files) > 1:
            out = console()
            out.rule(str(file), align="left") if out.is_terminal else echo(f"{shown(str(file))}:")
        if isinstance(found[-1], Graph):
            echo(found[-1].text())
        else:
            found[-1].print(console())
    code = max(each.exit_code if isinstance(each, Inspection) else 0 for each in found)
    if as_json:
        data = [each.as_json() for each in found]
        echo_json(data[0] if len(data) == 1 else {"files": data}, exit_code=code)
    sys.exit(code)
