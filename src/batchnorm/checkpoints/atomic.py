"""Replace a file at once: after a crash at any point the old file or the new one is there, whole.

A temporary file in the target's folder is written, read back by the caller, synced and renamed. It
is locked while its writer lives, so the next run can tell and remove what a killed run left behind;
what merely ends like one of ours is somebody else's. Nobody reads the new file who could not read
the old one: it takes over the old one's owner (if root replaces it), mode, group and access list.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from batchnorm.errors import CheckpointError
from batchnorm.printable import shown

try:
    import fcntl
except ImportError:  # Windows, where an open file can't be removed anyway
    fcntl = None  # type: ignore[assignment]

__all__ = ["SUFFIX", "Replacement", "replacement"]

SUFFIX = ".batchnorm-tmp"
OURS = re.compile(rf"\..*\.[0-9a-f]{{16}}{re.escape(SUFFIX)}", re.DOTALL)
ACCESS_LIST = "system.posix_acl_access"


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
    try:
        _check(target, force, inputs)
        _clean(target.parent)
        old = _status(target)
        descriptor, path = _create(target, 0o666 if old is None else 0o600)
    except (OSError, ValueError) as error:  # ValueError: by _check, or a NUL in the name
        raise CheckpointError(f"{shown(target)}: can't be written: {_reason(error)}") from None
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield Replacement(file, path)
            file.flush()
            if old is not None:
                _take_over(file.fileno(), target, old)
            os.fsync(file.fileno())
            if fcntl is None:
                file.close()  # Windows renames no open file; elsewhere the lock is kept
            _take_place(path, target, force)
        _sync_folder(target.parent)
    except OSError as error:
        kept = " The file that was there is untouched." if target.exists() else ""
        raise CheckpointError(
            f"{shown(target)}: can't be written: {_reason(error)}.{kept}"
        ) from None
    finally:
        with suppress(OSError):
            path.unlink()  # gone already when it took its place


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _check(target: Path, force: bool, inputs: Iterable[Path]) -> None:
    if target.name in ("", ".", ".."):
        raise ValueError("is not the name of a file")
    if not stat.S_ISDIR(_mode(target.parent)):
        raise ValueError("its folder does not exist; make it first")
    for given in inputs:
        if given.absolute() == target.absolute() or _same_file(given, target):
            raise ValueError("is the input; write to another file")
    try:
        status = target.lstat()
    except FileNotFoundError:
        return
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)):
        raise ValueError("is there and is not a regular file")
    if not force:
        raise ValueError("exists; give --force (force=True) to replace it")


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _status(target: Path) -> os.stat_result | None:
    """What the file is that will be replaced; of a link, what it leads to."""
    try:
        return target.stat()
    except OSError:  # not there, or a link that leads nowhere
        return None


def _take_over(descriptor: int, target: Path, old: os.stat_result) -> None:
    """Give the new file the old one's owner, where that can be, and mode.

    Less where its group or access list can't be kept.
    """
    mode = stat.S_IMODE(old.st_mode) & 0o777
    if hasattr(os, "fchown"):
        if os.fstat(descriptor).st_uid != old.st_uid:
            with suppress(OSError):  # only root may give a file away
                os.fchown(descriptor, old.st_uid, -1)
        if os.fstat(descriptor).st_gid != old.st_gid:
            try:
                os.fchown(descriptor, -1, old.st_gid)
            except OSError:
                mode &= ~0o070
        mode = _with_access_list(descriptor, target, mode)
        os.fchmod(descriptor, mode)


def _with_access_list(descriptor: int, target: Path, mode: int) -> int:
    """Copy an access list; without it the group's bits, which are its mask, would say too much."""
    if not hasattr(os, "getxattr"):
        return mode
    try:
        listed = os.getxattr(target, ACCESS_LIST)
    except OSError:  # none, or a file system without
        return mode
    try:
        os.setxattr(descriptor, ACCESS_LIST, listed)
    except OSError:
        return mode & ~0o070
    return mode


def _same_file(first: Path, second: Path) -> bool:
    try:
        return first.samefile(second)
    except OSError:
        return False


def _create(target: Path, mode: int) -> tuple[int, Path]:
    """A new locked file beside the target; never an existing one, never through a link."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
    for name in ("O_CLOEXEC", "O_NOFOLLOW", "O_BINARY"):
        flags |= getattr(os, name, 0)
    stem = os.fsencode(target.name)[:180].decode(errors="ignore")
    while True:
        path = target.parent / f".{stem}.{secrets.token_hex(8)}{SUFFIX}"
        descriptor = os.open(path, flags, mode)
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
    try:
        listed = [path for path in folder.iterdir() if OURS.fullmatch(path.name)]
    except OSError:  # a folder that may be written and not listed
        return
    for path in listed:
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
        raise CheckpointError(f"{shown(target)}: was made by somebody else meanwhile") from None
    except OSError:  # a file system without hard links
        path.replace(target)


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # not every file system can; the rename itself is done
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
