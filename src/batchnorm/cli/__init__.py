"""The command `batchnorm`: one file per sub-command, each with a click command called `command`.

Exit codes: 0 equal or nothing found, 1 findings, 2 usage or bad input, 141 where whoever read the
output has left (as of tools that SIGPIPE ends). Here is only what all commands share.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import platform
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

import click

from batchnorm import __version__
from batchnorm.cli import output
from batchnorm.core import kernel
from batchnorm.errors import BatchNormError

__all__ = ["main"]

GROUPS = {
    "Two frameworks": {
        "explain": "how two frameworks' batch normalizations differ",
        "translate": "write one framework's call in another's words and prove it",
    },
    "Checkpoints": {
        "convert": "carry a checkpoint over to another framework",
        "inspect": "list checkpoints' batch-norm layers and what looks wrong",
        "compare": "compare two checkpoints, layer by layer",
    },
    "Source code": {
        "rewrite": "carry batch-norm code over to another framework",
        "lint": "find the mistakes that ports between frameworks make",
    },
    "A port that trains worse": {
        "record": "run a model once and keep what a diagnosis needs, in its own environment",
        "diagnose": "say by which causes a port differs from its source",
    },
    "Is it right, is it fast": {
        "conformance": "ask any layer whether it does as a framework does",
        "vectors": "write inputs, states, exact answers and bounds, to test any layer with",
        "verify": "compare with the frameworks that are installed",
        "bench": "how fast the kernel is here, against what memory allows",
    },
}
COMMANDS = {name: text for group in GROUPS.values() for name, text in group.items()}


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

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first word names, or say which is near."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            from batchnorm.frameworks.names import did_you_mean  # which --version doesn't need

            near = did_you_mean(args[0].casefold(), COMMANDS)
            context.fail(
                f"there is no command {args[0]!r}{near}; --help lists those that are there"
            )
        return super().resolve_command(context, args)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table, by what people come for."""
        for title, commands in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(11), text) for name, text in commands.items()])

    def make_context(self, *args: Any, **settings: Any) -> click.Context:
        """Read the arguments, which may print a help text."""
        with _kept():
            return super().make_context(*args, **settings)

    def invoke(self, context: click.Context) -> Any:
        """Run one, where the implementation that the environment names is there."""
        kernel.check()
        with _kept():
            return super().invoke(context)


class _Lost(Exception):
    """An `OSError` on its way past click, which would end with a code of its own."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


@contextlib.contextmanager
def _kept() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _Lost(error) from None


def _version() -> str:
    """The version, and which implementation computes: one of the compiled kernel's, or NumPy."""
    level = kernel.chosen_name
    compiled = "NumPy computes" if level == "reference" else f"compiled kernel, {level}"
    return f"batchnorm {__version__} ({compiled}; Python {platform.python_version()})"


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message=_version())
def group() -> None:
    """Batch normalization as PyTorch, MindSpore and Keras define it, and the bridge between."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command; this package's own errors end it with their text and exit code 2."""
    output.prepare()
    try:
        try:
            code = _run(arguments)
        finally:
            if sys.stdout is not None:  # see that what was printed has arrived
                sys.stdout.flush()
    except _Lost as lost:
        output.give_up(lost.error)
    except OSError as error:
        output.give_up(error)
    sys.exit(code)


def _run(arguments: list[str] | None) -> int:
    """The exit code."""
    if any("\0" in text for text in arguments or ()):  # only a caller in Python can say one
        output.echo("batchnorm: an argument holds the sign NUL, which no name may", error=True)
        return 2
    try:
        code = group.main(arguments, standalone_mode=False)
    except click.ClickException as error:
        output.echo(_usage(error), error=True)
        return error.exit_code
    except click.Abort:
        output.echo("Aborted!", error=True)
        return 1
    except BatchNormError as error:
        output.echo(f"batchnorm: {error}", error=True)
        return 2
    return code if isinstance(code, int) else 0


def _usage(error: click.ClickException) -> str:
    """What click prints of an error."""
    text = io.StringIO()
    error.show(text)
    return text.getvalue().rstrip("\n")
