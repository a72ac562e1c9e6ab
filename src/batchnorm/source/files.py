"""Python files below paths: found, read, worked on in parallel with progress, written atomically.

A file that can't be read or parsed is an outcome of its own, and the rest goes on. Only files that
name a batch norm anywhere are parsed; the others cost one look at their bytes. Not here: what is
done with a file.
"""

from __future__ import annotations

import multiprocessing
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from rich.console import Console
from rich.progress import Progress

from batchnorm.checkpoints.atomic import replacement
from batchnorm.errors import InvalidValue
from batchnorm.source.contents import contents, special
from batchnorm.source.notebook import Notebook
from batchnorm.source.text import SourceError

__all__ = [
    "NOTEBOOK",
    "AnyPath",
    "Found",
    "Outcome",
    "expressions",
    "find",
    "listed",
    "names_a_batch_norm",
    "work_on",
    "write",
]

T = TypeVar("T")
AnyPath: TypeAlias = str | os.PathLike[str]

_NAMED = re.compile(rb"(?i)batch_?norm")
_SKIPPED_FOLDERS = {"__pycache__", "node_modules"}
NOTEBOOK = ".ipynb"
_SUFFIXES = (".py", ".pyi", NOTEBOOK)
ENDED = "not looked at: a process was ended from outside, for want of memory as a rule; use one job"
_FEW = 8  # files that aren't worth starting processes for


@dataclass
class Found:
    """What lies below the paths that were given.

    Attributes:
        files: Python files that name a batch norm, or whatever else is wanted.
        others: how many Python files don't.
        special: what is named like a Python file and is none, such as a named pipe: path and kind.
        errors: what can't be read: path and reason.
    """

    files: list[Path] = field(default_factory=list)
    others: int = 0
    special: list[tuple[Path, str]] = field(default_factory=list)
    errors: list[tuple[Path, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What came of one file: a result, or an error's text."""

    path: Path
    result: T | None = None
    error: str = ""


def names_a_batch_norm(data: bytes) -> bool:
    """Whether a file has to be parsed at all."""
    return _NAMED.search(data) is not None


def expressions(exclude: Iterable[str]) -> list[re.Pattern[str]]:
    """Patterns of paths.

    Raises:
        InvalidValue: one is none.
    """
    found = []
    for text in exclude:
        try:
            found.append(re.compile(text))
        except (re.error, OverflowError, RecursionError) as error:
            raise InvalidValue(f"exclude {text!r} is no regular expression: {error}") from None
    return found


def find(
    paths: Iterable[Path],
    exclude: Sequence[str] = (),
    wanted: Callable[[bytes], bool] = names_a_batch_norm,
) -> Found:
    """The Python files at and below paths, in order; folders that begin with a dot are skipped.

    Args:
        paths: files, taken whatever they are called, and folders.
        exclude: regular expressions; a path in which one is found is left out.
        wanted: says from a file's bytes whether it has to be parsed.
    """
    found, seen = Found(), set()
    patterns = expressions(exclude)
    named = frozenset(paths := list(paths))
    for path in _candidates(paths, found):
        if path in seen or any(pattern.search(path.as_posix()) for pattern in patterns):
            continue
        seen.add(path)
        try:
            kind = special(path)
            if kind and path in named:
                found.errors.append((path, f"is {kind}, no regular file: give its text on -"))
                continue
            if kind:
                found.special.append((path, kind))
                continue
            data = contents(path)
            needed = wanted(data)
            if path.suffix == NOTEBOOK and (needed or b"bn" in data):
                needed = wanted(Notebook(data).code)
        except SourceError as error:
            found.errors.append((path, str(error)))
            continue
        except OSError as error:
            found.errors.append((path, error.strerror or str(error)))
            continue
        if needed:
            found.files.append(path)
        else:
            found.others += 1
    return found


def _candidates(paths: Iterable[Path], found: Found) -> Iterator[Path]:
    def unreadable(error: OSError) -> None:
        found.errors.append((Path(error.filename), error.strerror or str(error)))

    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for folder, folders, files in os.walk(path, onerror=unreadable):
            folders[:] = sorted(
                name for name in folders if name not in _SKIPPED_FOLDERS and name[0] != "."
            )
            for name in sorted(files):
                if name.endswith(_SUFFIXES):
                    yield Path(folder, name)


def listed(paths: AnyPath | Iterable[AnyPath]) -> list[Path]:
    """One path, or several, as a list."""
    return [Path(paths)] if isinstance(paths, str | os.PathLike) else [Path(p) for p in paths]


def work_on(
    files: Sequence[Path],
    task: Callable[[Path, bytes], T],
    *,
    jobs: int | None = None,
    title: str = "",
    progress: bool = True,
) -> Iterator[Outcome[T]]:
    """Do a task on each file, in parallel, and give the outcomes in the order of the files.

    Args:
        files: the files.
        task: gets a file's path and bytes; it and its result must be picklable.
        jobs: how many processes; None for one per processor, 1 for this process alone.
        title: of the progress bar, which is on standard error, and on terminals only.
        progress: whether to show it.
    """
    one = partial(_outcome, task)
    jobs = min(jobs or os.cpu_count() or 1, max(1, len(files) // 2))
    console = Console(stderr=True)
    shown = progress and console.is_terminal
    bar = Progress(console=console, transient=True) if shown else None
    with bar or nullcontext():
        counted = None if bar is None else bar.add_task(title, total=len(files))
        for outcome in _each(files, one, jobs if len(files) > _FEW else 1):
            if bar is not None and counted is not None:
                bar.advance(counted)
            yield outcome


def _each(
    files: Sequence[Path], one: Callable[[Path], Outcome[T]], jobs: int
) -> Iterator[Outcome[T]]:
    if jobs == 1:
        yield from map(one, files)
        return
    # Fresh processes: this one may have threads, which a fork would cut in two.
    context = multiprocessing.get_context("spawn")
    done = 0
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        try:
            for outcome in pool.map(one, files, chunksize=4):
                done += 1
                yield outcome
        except BrokenProcessPool:
            yield from (Outcome(path, error=ENDED) for path in files[done:])


def _outcome(task: Callable[[Path, bytes], T], path: Path) -> Outcome[T]:
    try:
        return Outcome(path, task(path, contents(path)))
    except SourceError as error:
        return Outcome(path, error=str(error))
    except OSError as error:
        return Outcome(path, error=error.strerror or str(error))
    except RecursionError:
        return Outcome(path, error="is nested too deeply")
    except Exception as error:  # a fault of ours in one file must not lose the others
        return Outcome(path, error=f"internal error, please report it: {error!r}")


def write(path: Path, data: bytes, before: bytes) -> None:
    """Put new contents into a file, atomically; its mode stays, and a link goes on pointing to it.

    Raises:
        SourceError: it has changed since it was read.
        CheckpointError: the disk is full, or the folder can't be written.
    """
    target = path.resolve()
    if contents(target) != before:
        raise SourceError(f"{path}: has changed since it was read: run the command again")
    with replacement(target, force=True) as new:
        new.file.write(data)
