"""Write arrays into a copy of an existing Keras file: `.keras`, `.h5` or `.weights.h5`.

Everything but the arrays that are given stays byte for byte: the config, the names, the optimizer.
Only the metadata entry is added. Works on contiguous datasets of the same shape and type, which is
how Keras saves them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

from batchnorm.checkpoints.checkpoint import CHUNK, Checkpoint, Entry, Extra
from batchnorm.checkpoints.hdf5_writer import with_attribute
from batchnorm.checkpoints.keras_zip import WEIGHTS
from batchnorm.checkpoints.package_entry import PACKAGE_ENTRY, entry_bytes
from batchnorm.checkpoints.source import Source, quoted
from batchnorm.checkpoints.storage import FileStorage
from batchnorm.checkpoints.strided import Strided, little_endian
from batchnorm.checkpoints.zip_archive import inflated, read_members
from batchnorm.checkpoints.zip_writer import ZipWriter
from batchnorm.errors import CheckpointError

__all__ = ["write"]

NAMESPACES = ("keras", "layers")  # what the template says itself


def write(
    out: IO[bytes],
    entries: Sequence[Entry],
    extras: Mapping[str, Extra],
    metadata: Mapping[str, Any],
    template: Checkpoint,
    partial: bool = False,
) -> None:
    """Write the template with its arrays replaced; `partial` lets some keep their values."""
    if template.source is None:
        raise CheckpointError("a template is a checkpoint that was read from a file")
    _check_names(entries, template, partial)
    inner = template.source  # the HDF5 file, inside the archive for .keras
    patches: list[tuple[int, Entry | bytes]] = []
    for entry in entries:
        patches.append((_place(entry, template), entry))
    kept = {k: v for k, v in metadata.items() if k not in NAMESPACES}
    if "batchnorm" in template.metadata and template.format == "keras-weights":
        kept["layers"] = template.metadata.get("layers", {})  # it has its names from there
    own = entry_bytes(kept, extras)
    appended = b""
    if own or "batchnorm" in template.metadata:  # what an earlier run said of other arrays
        small, appended = with_attribute(inner, PACKAGE_ENTRY, own.decode() or "{}")
        patches += small
    if template.format != "keras":
        for piece in _patched(inner, patches, appended):
            out.write(piece)
        return
    outer = inner.whole
    archive = ZipWriter(out)
    for name, member in read_members(outer).items():
        if name == WEIGHTS:
            with archive.member(name, inner.size + len(appended)) as sink:
                for piece in _patched(inner, patches, appended):
                    sink.write(piece)
        else:
            with archive.member(name, member.size) as sink:
                for data in inflated(outer, member):
                    sink.write(data)
    archive.close()


def _check_names(entries: Sequence[Entry], template: Checkpoint, partial: bool) -> None:
    surplus = [e.name for e in entries if e.name not in template]
    missing = set(template) - {e.name for e in entries}
    if surplus:
        raise CheckpointError(
            f"{template.path}: the template has no array {quoted(surplus[0])}"
            + (f" (and {len(surplus) - 1} more)" if len(surplus) > 1 else "")
            + f"; it has {', '.join(quoted(n) for n in list(template)[:5])}, …"
        )
    if missing and not partial:
        raise CheckpointError(
            f"{template.path}: the template's array {quoted(sorted(missing)[0])}"
            + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
            + " would keep the template's values; give them, or say partial=True"
        )


def _place(entry: Entry, template: Checkpoint) -> int:
    """Where the entry's values go in the HDF5 file."""
    target = template[entry.name]
    place = f"{template.path}: entry {quoted(entry.name)}"
    if (entry.shape, entry.dtype) != (target.shape, target.dtype):
        raise CheckpointError(
            f"{place}: is {target.dtype} {target.shape} in the template, and {entry.dtype} "
            f"{entry.shape} is given"
        )
    layout = target.layout
    if not isinstance(layout, Strided) or not isinstance(layout.storage, FileStorage):
        raise CheckpointError(
            f"{place}: is compressed in the template; save the template with Keras again"
        )
    if layout.swapped:
        raise CheckpointError(f"{place}: is big-endian in the template; save it with Keras again")
    return layout.storage.extents[0][0]


def _patched(
    source: Source, patches: Sequence[tuple[int, Entry | bytes]], appended: bytes
) -> Iterator[bytes | memoryview]:
    """The source's bytes with parts replaced, then what is appended."""
    position = 0
    for offset, patch in sorted(patches, key=lambda p: p[0]):
        yield from _copied(source, position, offset)
        position = offset
        pieces = [patch] if isinstance(patch, bytes) else map(little_endian, patch.chunks(CHUNK))
        for piece in pieces:
            position += len(piece)
            yield piece
    yield from _copied(source, position, source.size)
    yield appended


def _copied(source: Source, start: int, end: int) -> Iterator[bytes]:
    for at in range(start, end, CHUNK):
        yield source.read(at, min(CHUNK, end - at), "template")
