"""`batchnorm vectors`: drawn cases with exact answers, as files to test any layer with."""

from __future__ import annotations

from pathlib import Path

import click

from batchnorm.cli.input import FrameworkName
from batchnorm.cli.output import echo, echo_json
from batchnorm.conformance import vectors
from batchnorm.printable import shown

__all__ = ["command"]


@click.command
@click.option(
    "--dialect", required=True, type=FrameworkName(), help="torch, mindspore, tf_keras or keras."
)
@click.option(
    "-o", "--output", required=True, type=click.Path(file_okay=False, path_type=Path),
    help="The folder; it is made if it isn't there.",
)  # fmt: skip
@click.option("--examples", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="The same draws the same.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def command(dialect: str, output: Path, examples: int, seed: int, as_json: bool) -> None:
    """Write EXAMPLES layers with inputs, states, exact answers and bounds as safetensors.

    The answers are computed with 80 digits and rounded once; docs/conformance.md says how a file
    is laid out. Two runs write the same bytes.
    """
    drawn = vectors(dialect, examples=examples, seed=seed)
    output.mkdir(parents=True, exist_ok=True)
    found = [(vector.save(output), vector) for vector in drawn]
    others = len({*output.glob("*.safetensors")} - {path for path, _ in found})
    if others:  # whoever plays the folder plays them too
        echo(shown(f"{output} holds {others} other .safetensors files, which stay"), error=True)
    if as_json:
        files = [{"file": path.name, **vector.facts()} for path, vector in found]
        echo_json({"folder": str(output), "seed": seed, "files": files})
    else:
        echo(shown(f"{len(found)} vectors of {dialect}, seed {seed}, in {output}"))
