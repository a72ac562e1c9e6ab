"""`batchnorm record FILE.py:make_model`: a model run once in its own environment, as a file.

Another environment's Python imports this package by its path, and nothing beside it.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import click

import batchnorm
from batchnorm import checkpoints
from batchnorm.batches import arrays as arrays_of
from batchnorm.batches import carried, is_last
from batchnorm.cli.output import echo, echo_json, is_terminal
from batchnorm.diagnose import Recording, record
from batchnorm.diagnose.files import save
from batchnorm.diagnose.ranks import rank_here
from batchnorm.diagnose.recorder import room_of
from batchnorm.diagnose.trace import PLACES
from batchnorm.errors import BatchNormError, InvalidValue
from batchnorm.printable import shown

__all__ = ["command", "recorded"]

ELSEWHERE = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location(
    "batchnorm", {root!r} + "/__init__.py", submodule_search_locations=[{root!r}]
)
module = importlib.util.module_from_spec(spec)
sys.modules["batchnorm"] = module
spec.loader.exec_module(module)
from batchnorm.cli import main
main({arguments!r})
"""


@click.command
@click.argument("model", metavar="FILE.py:make_model")
@click.option(
    "--batch", required=True, type=click.Path(path_type=Path),
    metavar="FILE.npz", help="What the model is called with: one array, or several by name.",
)  # fmt: skip
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="FILE.bnrec",
    help="Where the recording goes.",
)  # fmt: skip
@click.option("--python", metavar="PATH", help="The Python that has the model's framework.")
@click.option("--steps", type=click.IntRange(0), default=1, show_default=True,
              help="Training steps; 0 for inference alone.")  # fmt: skip
@click.option("--layout", type=click.Choice(["NCHW", "NHWC"]),
              help="How the batch is laid out, if not as the model wants it.")  # fmt: skip
@click.option(
    "--rank",
    metavar="R/N",
    help="Which of how many processes this is; one that mpirun or torchrun started knows.",
)
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    model: str,
    batch: Path,
    output: Path,
    python: str | None,
    steps: int,
    layout: str | None,
    rank: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Run a model once in inference and once or more in training, and keep what a diagnosis needs.

    make_model() gives the model, or the model and a loss: a function of its outputs. "{rank}" in
    the files' names stands for the process's rank.
    """
    if python is not None:
        sys.exit(_elsewhere(python, locals()))
    which = rank_here() if rank is None else _rank(rank)
    batch, output = (Path(str(p).replace("{rank}", str(which[0]))) for p in (batch, output))
    recording = recorded(model, batch, steps, layout, which)
    save(recording, output, force=force)
    size, norms = output.stat().st_size, len(recording.norms)
    sampled = f"of what layers take and give all but {PLACES} values of a channel and its moments"
    dropped = [sampled, *recording.dropped]
    if as_json:
        echo_json({
            "file": str(output), "framework": recording.framework, "batch_norms": norms,
            "phases": recording.phases, "rank": list(which), "bytes": size, "dropped": dropped,
        })  # fmt: skip
        return
    echo(f"{output}: {norms} batch norms, {', '.join(recording.phases)}, {size / 1e6:.1f} MB")
    for text in dropped:
        echo(f"left out: {text}")


def recorded(
    model: str, batch: Path, steps: int, layout: str | None, rank: tuple[int, int]
) -> Recording:
    """The run of the model that FILE.py:make_model makes."""
    made = _made(model)
    made, loss = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    given = _batch(batch)
    try:
        _, room = room_of(made)
    except TypeError:
        gave = shown(repr(made))[:100]
        raise InvalidValue(
            f"{model} gave {gave}; expected a framework's model, or it and a loss"
        ) from None
    last = is_last(room, room.eager(made))
    if layout is not None:
        given = carried(given, layout == "NHWC", last)

    def progress(phase: str) -> None:
        if is_terminal(sys.stderr):
            echo(f"running: {phase}", error=True)

    try:
        return record(made, given, steps=steps, loss=loss, last=last, rank=rank, progress=progress)
    except BatchNormError:
        raise
    except Exception as error:  # the model's own: a crash must not look like a difference
        sizes = ", ".join(str(array.shape) for array in arrays_of(given))
        raise InvalidValue(
            f"{model} can't be run on this batch of {sizes}; --layout says how the batch is laid "
            f"out: {type(error).__name__}: {shown(str(error))[:500]}"
        ) from error


def _elsewhere(python: str, options: dict[str, Any]) -> int:
    """The same command in another Python."""
    words = ["record", options["model"], "--batch", str(options["batch"])]
    words += ["-o", str(options["output"]), "--steps", str(options["steps"])]
    words += ["--layout", options["layout"]] if options["layout"] else []
    words += ["--rank", options["rank"]] if options["rank"] else []
    words += ["--force"] if options["force"] else []
    words += ["--json"] if options["as_json"] else []
    root = str(Path(batchnorm.__file__).resolve().parent)
    code = ELSEWHERE.format(root=root, arguments=words)
    try:
        done = subprocess.run([python, "-c", code], check=False)
    except OSError as error:
        raise InvalidValue(f"{python!r} can't be run: {error.strerror}") from error
    if done.returncode not in (0, 2):
        raise InvalidValue(
            f"{python} ended with code {done.returncode}; it must have numpy, ml_dtypes, click and "
            "rich beside the model's framework"
        )
    return done.returncode


def _rank(text: str) -> tuple[int, int]:
    rank, _, size = text.partition("/")
    if not (rank.isdecimal() and size.isdecimal() and int(rank) < int(size)):
        raise InvalidValue(f"--rank takes R/N with R from 0 to N - 1, such as 0/2, not {text!r}")
    return int(rank), int(size)


def _made(model: str) -> Any:
    name, colon, function = model.rpartition(":")
    if not colon or not name.endswith(".py"):
        raise InvalidValue(f"expected FILE.py:make_model, but got {model!r}")
    path = Path(name)
    if not path.is_file():
        raise InvalidValue(f"{name}: there is no such file")
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parent))
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
        found = getattr(module, function, None)
        if not callable(found):
            raise InvalidValue(f"{name}: has no function {function!r}")
        return found()
    except BatchNormError:
        raise
    except Exception as error:
        steps = traceback.extract_tb(error.__traceback__)
        lines = [step.lineno for step in steps if step.filename == str(path.resolve())]
        place = f", line {lines[-1]}" if lines else ""
        raise InvalidValue(f"{name}{place}: {type(error).__name__}: {error}") from error


def _batch(path: Path) -> Any:
    with checkpoints.read(path, format="npz") as found:
        arrays = {name: entry.load() for name, entry in found.items()}
    if not arrays:
        raise InvalidValue(f"{path}: holds no array")
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    if all(name.startswith("arr_") for name in arrays):
        return tuple(arrays.values())
    return arrays
