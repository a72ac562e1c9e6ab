"""Where commands put what they have to say: the only way out of the command line.

Whatever is printed passes `printable` here, so that nothing of a file reaches a terminal raw, also
where a renderer forgot it. A console of any encoding is written to: signs that it lacks are
replaced. Into a file or a pipe nothing is folded, so that a line is a layer and can be searched
for. JSON and HTML are UTF-8 (or ASCII) whatever the console is. A reader that has left is a
`BrokenPipeError`, which `main` turns into the exit code. Not here: checkpoints and source code,
which are replaced by `checkpoints.atomic`.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TextIO

import click
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from batchnorm.errors import CheckpointError, InvalidValue
from batchnorm.printable import as_ascii, json_text, shown_lines

__all__ = [
    "Output",
    "console",
    "echo",
    "echo_bytes",
    "echo_json",
    "echo_utf8",
    "give_up",
    "is_terminal",
    "prepare",
    "replace_text",
]

UNFOLDED = 4096
BROKEN_PIPE = 141  # 128 + SIGPIPE, as a shell reports it of other tools
LIKE = "batchnorm.like"  # what stands for signs that an encoding lacks


class Output(Console):
    """A console whose texts are escaped, and which leaves a broken pipe to `main`."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Give the pieces of a line, none of which a terminal acts on but rich's own."""
        for piece in super().render(renderable, options):
            yield piece if piece.control else piece._replace(text=shown_lines(piece.text))

    def on_broken_pipe(self) -> None:
        """Rich would end the process with a code of its own."""
        raise


def is_terminal(stream: TextIO | None) -> bool:
    """Whether people read it; a stream that was closed before the start is None."""
    return stream is not None and stream.isatty()


def console(*, error: bool = False, width: int | None = UNFOLDED, **settings: Any) -> Output:
    """The console of standard output or error; `width` is where it is no terminal."""
    stream = sys.stderr if error else sys.stdout
    return Output(stderr=error, width=None if is_terminal(stream) else width, **settings)


def echo(text: str = "", *, error: bool = False, newline: bool = True) -> None:
    """Print whole lines."""
    click.echo(shown_lines(text), err=error, nl=newline)


def echo_json(
    content: str | Mapping[str, Any], indent: int | None = None, *, exit_code: int = 0
) -> None:
    """Print one JSON object, of plain data or text already, in the envelope that all have.

    `schema`, a number that grows when a key changes its meaning or goes; `command`; `exit_code`;
    then the command's own keys (docs/json.md).
    """
    data = dict(json.loads(content) if isinstance(content, str) else content)
    context = click.get_current_context(silent=True)
    envelope = {
        "schema": data.pop("schema", 1),
        "command": context.info_name if context is not None else None,
        "exit_code": exit_code,
    }
    text = json_text({**envelope, **data, **envelope}, indent, ascii_only=not _is_utf8(sys.stdout))
    echo_bytes(text.rstrip("\n").encode() + b"\n")


def echo_utf8(text: str) -> None:
    """Print a document that says of itself that it is UTF-8."""
    echo_bytes(shown_lines(text).encode())


def echo_bytes(data: bytes) -> None:
    """Print what a program reads, as it is; on a terminal, what people can."""
    if sys.stdout is None:
        return
    if is_terminal(sys.stdout):
        echo(data.decode("utf-8", "surrogateescape"), newline=False)
    else:
        click.echo(data, nl=False)


def _is_utf8(stream: TextIO | None) -> bool:
    try:
        return codecs.lookup(getattr(stream, "encoding", None) or "utf-8").name == "utf-8"
    except LookupError:
        return False


def _like(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return as_ascii(error.object[error.start : error.end]), error.end


def prepare() -> None:
    """Let the standard streams say any text in their own encoding."""
    codecs.register_error(LIKE, _like)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError, OSError):  # a stream of somebody's own
            stream.reconfigure(errors=LIKE)  # type: ignore[union-attr]


def give_up(error: OSError) -> NoReturn:
    """End, since nobody takes the output; quietly if that is a pipe's reader that has left."""
    if not isinstance(error, BrokenPipeError):
        with contextlib.suppress(OSError):
            echo(f"batchnorm: {error}", error=True)
    for stream in (sys.stdout, sys.stderr):  # Python flushes once more when it ends
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
            continue
        with contextlib.suppress(OSError, ValueError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(BROKEN_PIPE if isinstance(error, BrokenPipeError) else 2)


def replace_text(path: Path, text: str, inputs: Iterable[Path] = ()) -> None:
    """The old file or the new one, never a part, and no more readable than the old one was."""
    from batchnorm.checkpoints.atomic import replacement  # which commands that print don't need

    try:
        with replacement(path, force=True, inputs=inputs) as new:
            new.file.write(shown_lines(text).encode("utf-8", "backslashreplace"))
    except CheckpointError as error:
        raise InvalidValue(str(error)) from None
