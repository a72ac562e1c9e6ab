"""`batchnorm conformance`: ask anybody's layer whether it does as a dialect does."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from batchnorm.cli.input import FrameworkName
from batchnorm.cli.output import console, echo_json
from batchnorm.conformance import conform
from batchnorm.conformance.adapter import load

__all__ = ["command"]


@click.command
@click.argument("adapter", metavar="PACKAGE.MODULE:ADAPTER")
@click.option(
    "--dialect", required=True, type=FrameworkName(), help="torch, mindspore, tf_keras or keras."
)
@click.option(
    "--expected", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
    help="TOML: what is known to fail, and why; what passes in spite of it is a failure.",
)  # fmt: skip
@click.option("--examples", type=click.IntRange(min=0), default=100, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the drawn cases.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def command(
    adapter: str, dialect: str, expected: Path | None, examples: int, seed: int, as_json: bool
) -> None:
    """Put all questions of a dialect to a layer, and play EXAMPLES drawn cases on it.

    The adapter is an object or a module that constructs a layer, sets and reads its state, and
    runs it forward and backward (docs/conformance.md).

    Exit code: 0 if it conforms, 1 if something failed or passed unexpectedly, 2 if the adapter
    can't be used or nothing could be asked.
    """
    found = load(adapter)
    report = conform(found, dialect, expected_failures=expected, examples=examples, seed=seed)
    if as_json:
        echo_json(report.as_json(), exit_code=report.exit_code)
    else:
        report.print(console())
    sys.exit(report.exit_code)
