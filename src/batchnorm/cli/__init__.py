"""The command `batchnorm`: one file per sub-command, each with a click command called `command`.

Exit codes: 0 equal or nothing found, 1 findings, 2 usage or bad input. Here is only what all
commands share.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import platform
import sys
from typing import Any, NoReturn

import click

from batchnorm import __version__
from batchnorm.core import kernel
from batchnorm.errors import BatchNormError

__all__ = ["main"]

COMMANDS = {
    "bench": "how fast the kernel is here, against what memory allows",
    "explain": "how two frameworks' batch normalizations differ",
    "translate": "write one framework's call in another's words and prove it",
    "convert": "carry a checkpoint over to another framework",
    "inspect": "list a checkpoint's batch-norm layers and what looks wrong",
    "compare": "compare two checkpoints, layer by layer",
    "lint": "find the mistakes that ports between frameworks make",
    "rewrite": "carry batch-norm code over to another framework",
    "verify": "compare with the frameworks that are installed",
}


class Commands(click.Group):
    """Sub-commands, each imported only when it is used."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Give the names, in the order of the table above."""
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Import one."""
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"batchnorm.cli.{name}")
        command: click.Command = module.command
        return command

    def invoke(self, context: click.Context) -> Any:
        """Run one, and see that what it printed has arrived."""
        try:
            try:
                return super().invoke(context)
            finally:
                if sys.stdout is not None:
                    sys.stdout.flush()
        except OSError as error:
            _give_up(error)


def _give_up(error: OSError) -> NoReturn:
    """End, since nobody takes the output; quietly if that is a pipe's reader that has left."""
    if not isinstance(error, BrokenPipeError):
        click.echo(f"batchnorm: {error}", err=True)
    with contextlib.suppress(OSError, ValueError, AttributeError):
        # Python flushes once more when it ends, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(2)


def _version() -> str:
    """The version, and which implementation computes: one of the compiled kernel's, or NumPy."""
    level = kernel.chosen_name
    compiled = "NumPy computes" if level == "reference" else f"compiled kernel, {level}"
    return f"batchnorm {__version__} ({compiled}; Python {platform.python_version()})"


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message=_version())
def group() -> None:
    """Batch normalization as PyTorch, MindSpore and Keras define it, and the bridge between."""


def main(arguments: list[str] | None = None) -> Any:
    """Run the command; this package's own errors end it with their text and exit code 2."""
    try:
        return group.main(arguments, standalone_mode=True)
    except BatchNormError as error:
        click.echo(f"batchnorm: {error}", err=True)
        sys.exit(2)
