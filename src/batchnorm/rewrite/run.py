"""A run over files and folders: what `batchnorm rewrite` does, as a function.

Not here: one file (`rewriter`, `written_as`), and what is printed (`report`, the command).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from batchnorm.errors import BatchNormError, InvalidValue
from batchnorm.frameworks import find as find_framework
from batchnorm.rewrite.report import Report
from batchnorm.rewrite.rewriter import Rewritten, rewrite_source
from batchnorm.rewrite.written_as import rewrite_written
from batchnorm.source import AnyPath, find, listed, special, work_on
from batchnorm.source import write as write_file

__all__ = ["copied", "rewrite", "task"]


def rewrite(
    paths: AnyPath | Iterable[AnyPath],
    *,
    from_: str | None = None,
    to: str,
    written_as: str | None = None,
    write: bool = False,
    out_dir: AnyPath | None = None,
    rank: int | None = None,
    exclude: Iterable[str] = (),
    jobs: int | None = None,
    progress: bool = False,
    each: Callable[[Path, Rewritten], None] | None = None,
) -> Report:
    """Carry the batch norms in files and folders over to another framework.

    Args:
        paths: a file or folder, or several; nothing in them is changed unless `write` says so.
        from_: the framework that they are written for, such as "torch".
        to: the framework that they are to be written for, such as "mindspore@2.0".
        written_as: in place of `from_`: the imports are `to`'s already, and numbers and names are
            this framework's still.
        write: change the files, each at once.
        out_dir: a new folder for a changed copy of the one path.
        rank: of the inputs of Keras layers, where the code doesn't say it, 2 to 5.
        exclude: regular expressions; paths in which one is found are left out.
        jobs: how many processes; None for one per processor.
        progress: whether to show a bar on a terminal.
        each: is called with each file that was looked through, in order.

    Raises:
        ValueError: an unknown framework, both or neither of `from_` and `written_as`, no such path.
    """
    one = task(from_, to, written_as, rank)
    given = listed(paths)
    missing = next((path for path in given if not path.exists()), None)
    if missing is not None:
        raise InvalidValue(f"{missing} does not exist; expected a file or folder")
    if out_dir is not None:
        if write:
            raise InvalidValue("out_dir writes a copy, and write changes the files: give one")
        given, write = [copied(given, Path(out_dir))], True
    found = find(given, tuple(exclude))
    report = Report(
        others=found.others, errors=list(found.errors), special=found.special, written=write
    )
    for outcome in work_on(found.files, one, jobs=jobs, title="rewriting", progress=progress):
        result = outcome.result
        if result is None:
            report.errors.append((outcome.path, outcome.error))
            continue
        if write and result.changed:
            try:
                write_file(outcome.path, result.after, result.before)
            except (BatchNormError, OSError) as refused:
                report.errors.append((outcome.path, str(refused)))
                continue
        report.add(result, outcome.path)
        if each is not None:
            each(outcome.path, result)
    return report


def task(
    from_: str | None, to: str, written_as: str | None = None, rank: int | None = None
) -> partial[Rewritten]:
    """What is done with a file's path and bytes.

    Raises:
        ValueError: as `rewrite`.
    """
    if (from_ is None) is (written_as is None):
        raise InvalidValue("give from_, or written_as where the imports are to's already")
    source, target = find_framework(from_ or written_as or ""), find_framework(to)
    if source.framework == target.framework:
        raise InvalidValue(f"{source.name} and {target.name} are one framework; expected two")
    names = (source.name, target.name)
    return partial(_one, names=names, rank=rank, written=written_as is not None)


def _one(
    path: Path, raw: bytes, *, names: tuple[str, str], rank: int | None, written: bool
) -> Rewritten:
    """Rewrite one file; the nodes of its tree stay in the process that parsed it."""
    from_, to = names
    if written:
        found = rewrite_written(raw, written_as=from_, to=to, path=path)
    else:
        found = rewrite_source(raw, from_=from_, to=to, path=path, rank=rank)
    for site in found.sites:
        site.node = None
    return found


def copied(paths: list[Path], out_dir: Path) -> Path:
    """The copy of the one path that is given, in a folder that holds nothing yet.

    Raises:
        ValueError: several paths, or a folder that holds something or lies inside of the path.
    """
    if len(paths) != 1:
        raise InvalidValue(f"out_dir takes one path, but {len(paths)} are given")
    if os.path.lexists(out_dir) and (not out_dir.is_dir() or any(out_dir.iterdir())):
        raise InvalidValue(f"{out_dir} holds something already: name a new folder")
    (path,) = paths
    if out_dir.resolve().is_relative_to(path.resolve()):
        raise InvalidValue(f"{out_dir} is inside of {path}: name a folder outside of it")
    if path.is_dir():
        shutil.copytree(path, out_dir, symlinks=True, ignore=_special, dirs_exist_ok=True)
        return out_dir
    if kind := special(path):
        raise InvalidValue(f"{path} is {kind}, no regular file: give its text on -")
    out_dir.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy2(path, out_dir))


def _special(folder: str, names: list[str]) -> list[str]:
    """What can't be copied: pipes, sockets, devices."""
    places = {name: Path(folder, name) for name in names}
    return [n for n, p in places.items() if not (p.is_symlink() or p.is_file() or p.is_dir())]
