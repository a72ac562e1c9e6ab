"""`batchnorm compare A B`: two checkpoints of any formats, layer by layer."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from batchnorm.cli.output import console, echo_json
from batchnorm.convert import compare

__all__ = ["command"]


@click.command
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--from-a", metavar="FRAMEWORK", help="Whose names A has.")
@click.option("--from-b", metavar="FRAMEWORK", help="Whose names B has.")
@click.option(
    "--map",
    "map_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Pairs of layers of A and B, as for convert.",
)
@click.option(
    "--atol", type=float, default=0.0, show_default=True, help="Differences up to this are none."
)
@click.option(
    "--rtol",
    type=float,
    default=0.0,
    show_default=True,
    help="Relative to the largest value of an array.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    a: Path,
    b: Path,
    from_a: str | None,
    from_b: str | None,
    map_file: Path | None,
    atol: float,
    rtol: float,
    as_json: bool,
) -> None:
    """Compare the checkpoints A and B; the first layer that differs comes first.

    Exit code 1 if anything differs.
    """
    found = compare(a, b, frameworks=(from_a, from_b), map=map_file, atol=atol, rtol=rtol)
    if as_json:
        echo_json(found.as_json(), exit_code=found.exit_code)
    else:
        found.print(console())
    sys.exit(found.exit_code)
