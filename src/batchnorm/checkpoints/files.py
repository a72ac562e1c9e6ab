"""`read`, `write` and `detect`: from a path to a checkpoint and back, whatever the format.

Puts together what the files beside this one do: detection, one reader and writer per format, and
the atomic replacement. It knows no dialect; names go from one format to the next as they are.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from batchnorm.checkpoints import (
    keras_h5,
    keras_template,
    keras_writer,
    keras_zip,
    mindspore_ckpt,
    npz,
    onnx,
    safetensors,
    sharded,
    torch_legacy,
    torch_zip,
)
from batchnorm.checkpoints.atomic import replacement
from batchnorm.checkpoints.checkpoint import CHUNK, Checkpoint, Entry, Extra
from batchnorm.checkpoints.detection import FORMATS, INDEX, detected, format_of_name, refuse_folder
from batchnorm.checkpoints.source import Source, name_fault, quoted
from batchnorm.checkpoints.storage import Array
from batchnorm.checkpoints.strided import little_endian
from batchnorm.errors import CheckpointError

__all__ = ["UNEXPECTED", "detect", "read", "write"]

Progress = Callable[[int, int], None]
READERS: dict[str, Callable[[Source], Checkpoint]] = {
    "safetensors": safetensors.read,
    "torch": torch_zip.read,
    "torch-legacy": torch_legacy.read,
    "mindspore": mindspore_ckpt.read,
    "npz": npz.read,
    "keras": keras_zip.read,
    "keras-weights": keras_h5.read,
    "keras-h5": keras_h5.read,
    "onnx": onnx.read,
}
UNEXPECTED = (
    ArithmeticError, LookupError, MemoryError, RecursionError, TypeError, ValueError, struct.error,
)  # fmt: skip
POSITIONAL = "keras-weights"  # the one format whose file has no weight names


def read(path: str | os.PathLike[str], *, format: str | None = None) -> Checkpoint:
    """Open a checkpoint of any format; nothing is loaded until an entry is asked for.

    Args:
        path: the file.
        format: one of `FORMATS` to skip detection, which goes by the file's content.

    Returns:
        A `Checkpoint`: a mapping from name to `Entry`, in the file's order. It keeps the file open;
        use it in a `with` block or call `close()`.

    Raises:
        CheckpointError: the file is damaged, hostile, encrypted or of a kind that can't be read;
            says the place, the reason and what to do.

    Example:
        >>> import pathlib, tempfile
        >>> import numpy as np
        >>> from batchnorm import checkpoints
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = pathlib.Path(folder.name, "a.pth")
        >>> checkpoints.write(path, {"bn1.weight": np.ones(3, np.float32)})
        >>> with checkpoints.read(path) as checkpoint:
        ...     for name, entry in checkpoint.items():
        ...         print(name, entry.shape, entry.dtype, entry.load())
        bn1.weight (3,) float32 [1. 1. 1.]
        >>> folder.cleanup()
    """
    place = Path(path)
    if os.path.isdir(place):  # noqa: PTH112 - raises for no path, unlike Path's
        refuse_folder(place)
    source = Source(place)
    try:
        kind = _known(format) if format is not None else detected(source)
        return sharded.read(source, read) if kind == INDEX else READERS[kind](source)
    except CheckpointError:
        source.close()
        raise
    except UNEXPECTED as error:
        source.close()  # no damaged file is known that gets here (tests/checkpoints/fuzz.py)
        source.fail("file", f"can't be understood ({type(error).__name__}); it is damaged")
    except BaseException:
        source.close()
        raise


def detect(path: str | os.PathLike[str]) -> str:
    """The format of a file, one of `FORMATS`, by its content; raises as `read` does."""
    with read(path) as checkpoint:
        return checkpoint.format


def write(
    path: str | os.PathLike[str],
    content: Mapping[str, object] | Iterable[Entry],
    *,
    format: str | None = None,
    framework: str | None = None,
    extras: Mapping[str, Extra] | None = None,
    metadata: Mapping[str, Any] | None = None,
    force: bool = False,
    inputs: Iterable[str | os.PathLike[str]] = (),
    template: str | os.PathLike[str] | Checkpoint | None = None,
    partial: bool = False,
    crc: bool = False,
    progress: Progress | None = None,
) -> None:
    """Write a checkpoint, streaming entry by entry, so that the old file or the new one is there.

    Args:
        path: the new file; its suffix gives the format where `format` does not.
        content: a `Checkpoint`, a mapping from name to array or `Entry`, or entries.
        format: one of `FORMATS` except "torch-legacy" and "onnx".
        framework: "torch" or "mindspore" for .safetensors, "keras" or "tf_keras" for HDF5: whose
            loader the file is meant for.
        extras: plain values beside the arrays; a `Checkpoint`'s own unless given.
        metadata: JSON by namespace, see `Checkpoint`; a `Checkpoint`'s own unless given. What the
            format has no place for goes into the package's own entry, so it comes back on reading.
        force: replace an existing file.
        inputs: files that `path` may not be, also not through links. The file of a `Checkpoint`,
            and the template, are always among them.
        template: for Keras formats, a file of the target model: it is copied and its arrays are
            replaced. Needed for `.keras`.
        partial: let arrays of the template that are not given keep their values.
        crc: for MindSpore, append the CRC that `load_checkpoint(crc_check=True)` verifies.
        progress: called with (bytes done, bytes in all).

    Raises:
        CheckpointError: the format can't hold an entry, the target exists, the disk is full; the
            target is then as it was.
    """
    target = Path(path)
    kind = _known(format or format_of_name(target) or _unnamed(target))
    given = content if isinstance(content, Checkpoint) else None
    if given is not None:
        extras = given.extras if extras is None else extras
        metadata = given.metadata if metadata is None else metadata
    forbidden = [Path(p) for p in inputs]
    forbidden += given.paths if given is not None else []
    opened = None
    if template is not None and not isinstance(template, Checkpoint):
        opened = template = read(template)
    if template is not None and template.path is not None:
        forbidden.append(template.path)
    watched = _Watched(_entries(content), progress)
    job = _Job(
        kind, watched.entries, extras or {}, metadata or {}, framework, template, partial, crc
    )
    try:
        with replacement(target, force=force, inputs=forbidden) as new:
            _write_to(new.file, job)
            new.file.flush()
            watched.verify(new.path, kind, complete=template is None)
    finally:
        if opened is not None:
            opened.close()


@dataclass(frozen=True)
class _Job:
    """What one call of `write` asks for."""

    kind: str
    entries: Sequence[Entry]
    extras: Mapping[str, Extra]
    metadata: Mapping[str, Any]
    framework: str | None
    template: Checkpoint | None
    partial: bool
    crc: bool


def _write_to(out: IO[bytes], job: _Job) -> None:
    content = (out, job.entries, job.extras, job.metadata)
    if job.template is not None:
        if job.template.format != job.kind:
            raise CheckpointError(
                f"{job.template.path}: a template of format {job.template.format} gives a file of "
                f"that format, not {job.kind}; .keras, .weights.h5 and .h5 can be templates"
            )
        keras_template.write(*content, job.template, job.partial)
    elif job.kind == "torch":
        torch_zip.write(*content)
    elif job.kind == "safetensors":
        safetensors.write(*content, job.framework)
    elif job.kind == "mindspore":
        mindspore_ckpt.write(*content, job.crc)
    elif job.kind == "npz":
        npz.write(*content)
    elif job.kind == "keras-weights":
        keras_writer.write_weights(*content, job.framework)
    elif job.kind == "keras-h5":
        keras_writer.write_legacy(*content, job.framework)
    elif job.kind == "keras":
        raise CheckpointError(
            "a .keras file holds the model's config too: give a template (--like), a .keras file "
            "of the target model, or write .weights.h5"
        )
    else:
        raise CheckpointError(f"{job.kind} is only read; write .pth, for every torch since 1.6")


def _known(format: str) -> str:
    if format not in FORMATS:
        raise CheckpointError(f"format {quoted(format)} is none of {', '.join(FORMATS)}")
    return format


def _unnamed(target: Path) -> str:
    suffixes = [suffix for known in FORMATS.values() for suffix in known]
    raise CheckpointError(
        f"{target}: the name ends in none of {', '.join(suffixes)}; give the format"
    )


def _entries(content: Mapping[str, object] | Iterable[Entry]) -> list[Entry]:
    if isinstance(content, Mapping):
        entries = [
            value.renamed(name) if isinstance(value, Entry) else Entry.of(name, value)
            for name, value in content.items()
        ]
    else:
        entries = list(content)
    twice = [name for name, count in Counter(e.name for e in entries).items() if count > 1]
    if twice:
        raise CheckpointError(f"two entries are called {quoted(twice[0])}")
    for entry in entries:
        fault = name_fault(entry.name)
        if fault:
            raise CheckpointError(
                f"entry {quoted(entry.name)}: {fault}; not a name that a file should hold"
            )
    return entries


class _Watched:
    """Entries whose bytes are counted while they are written, to be compared on reading back."""

    def __init__(self, entries: Sequence[Entry], progress: Progress | None) -> None:
        self._crc: dict[str, int] = {}
        self._facts = {e.name: (e.shape, e.dtype) for e in entries}
        self._progress, self._done = progress, 0
        self._total = sum(e.nbytes for e in entries)
        self.entries = [self._watched(entry) for entry in entries]

    def _watched(self, entry: Entry) -> Entry:
        def chunks(max_bytes: int) -> Iterator[Array]:
            crc = 0
            for piece in entry.chunks(max_bytes):
                crc = zlib.crc32(little_endian(piece), crc)
                self._done += piece.nbytes
                if self._progress is not None:
                    self._progress(self._done, self._total)
                yield piece
            self._crc[entry.name] = crc

        return Entry.streamed(entry.name, entry.shape, entry.dtype, chunks)

    def verify(self, path: Path, kind: str, *, complete: bool) -> None:
        """Read the new file and compare every entry with what was given."""
        with read(path, format=kind) as written:
            found = {e.name: (e.shape, e.dtype, _crc(e)) for e in written.values()}
        wanted = {n: (*facts, self._crc.get(n)) for n, facts in self._facts.items()}
        if kind == POSITIONAL and complete:
            same = Counter(found.values()) == Counter(wanted.values())
        else:
            same = all(found.get(name) == facts for name, facts in wanted.items())
            same = same and (not complete or list(found) == list(wanted))
        if not same:
            raise CheckpointError(
                f"{path}: what was written does not read back as it was given; the disk or memory "
                "is faulty, or this is a bug of batchnorm: please report it"
            )


def _crc(entry: Entry) -> int:
    crc = 0
    for piece in entry.chunks(CHUNK):
        crc = zlib.crc32(little_endian(piece), crc)
    return crc
