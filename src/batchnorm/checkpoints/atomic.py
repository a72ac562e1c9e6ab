"""Replace a file at once: after a crash at any point the old file or the new one is there, whole.

A temporary file in the target's folder is written, read back by the caller, synced and renamed. It
is locked while its writer lives, so the next run can tell and remove what a killed run left behind.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from batchnorm.errors import CheckpointError

try:
    import fcntl
except ImportError:  # Windows, where an open file can't be removed anyway
    fcntl = None  # type: ignore[assignment]

__all__ = ["SUFFIX", "Replacement", "replacement"]

SUFFIX = ".batchnorm-tmp"


@dataclass
class Replacement:
    """The new file before it takes its place."""

    file: IO[bytes]
    path: Path  # of the temporary file


@contextmanager
def replacement(
    target: Path, *, force: bool = False, inputs: Iterable[Path] = ()
) -> Iterator[Replacement]:
    """Write `target` anew; at the end of the block it takes the old file's place.

    Args:
        target: the file. A link at this name is replaced, what it points to is not touched.
        force: whether an existing file may be replaced.
        inputs: files that may not be the target, also not through links.

    Raises:
        CheckpointError: the target exists, is an input or is not a file; or the disk is full.
    """
    _check(target, force, inputs)
    _clean(target.parent)
    try:
        descriptor, path = _create(target)
    except OSError as error:
        raise CheckpointError(f"{target}: can't be written: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield Replacement(file, path)
            file.flush()
            os.fsync(file.fileno())
            if fcntl is None:
                file.close()  # Windows renames no open file; elsewhere the lock is kept
            _take_place(path, target, force)
        _sync_folder(target.parent)
    except OSError as error:
        reason = error.strerror or str(error)
        kept = " The file that was there is untouched." if target.exists() else ""
        raise CheckpointError(f"{target}: can't be written: {reason}.{kept}") from None
    finally:
        with suppress(OSError):
            path.unlink()  # gone already when it took its place


def _check(target: Path, force: bool, inputs: Iterable[Path]) -> None:
    if target.name in ("", ".", ".."):
        raise CheckpointError(f"{target}: is not the name of a file")
    if not target.parent.is_dir():
        raise CheckpointError(f"{target}: its folder does not exist; make it first")
    for given in inputs:
        if given.absolute() == target.absolute() or _same_file(given, target):
            raise CheckpointError(f"{target}: is the input; write to another file")
    try:
        status = target.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise CheckpointError(f"{target}: can't be written: {error.strerror}") from None
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)):
        raise CheckpointError(f"{target}: is there and is not a regular file")
    if not force:
        raise CheckpointError(f"{target}: exists; give --force (force=True) to replace it")


def _same_file(first: Path, second: Path) -> bool:
    try:
        return first.samefile(second)
    except OSError:
        return False


def _create(target: Path) -> tuple[int, Path]:
    """A new locked file beside the target; never an existing one, never through a link."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
    for name in ("O_CLOEXEC", "O_NOFOLLOW", "O_BINARY"):
        flags |= getattr(os, name, 0)
    stem = target.name.encode()[:180].decode(errors="ignore")
    while True:
        path = target.parent / f".{stem}.{secrets.token_hex(8)}{SUFFIX}"
        descriptor = os.open(path, flags, 0o666)
        if fcntl is None:
            return descriptor, path
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if _is_at(descriptor, path):  # else another run's cleaning came between
            return descriptor, path
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        there = path.lstat()
    except FileNotFoundError:
        return False
    ours = os.fstat(descriptor)
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def _clean(folder: Path) -> None:
    """Remove temporary files whose writers are dead."""
    for path in folder.glob(f".*{SUFFIX}"):
        if fcntl is None:
            with suppress(OSError):
                path.unlink()
            continue
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if stat.S_ISREG(os.fstat(descriptor).st_mode) and _is_at(descriptor, path):
                    path.unlink()
            finally:
                os.close(descriptor)


def _take_place(path: Path, target: Path, force: bool) -> None:
    if force:
        path.replace(target)
        return
    try:
        os.link(path, target)  # fails where somebody else made the target meanwhile
    except FileExistsError:
        raise CheckpointError(f"{target}: was made by somebody else meanwhile") from None
    except OSError:  # a file system without hard links
        path.replace(target)


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # not every file system can; the rename itself is done
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
