"""A checkpoint in several files by its index: `model.safetensors.index.json` and torch's like.

The index is JSON with a `weight_map` of name to file. Its files lie beside it, and no other is
opened; each is read as what it is, and all together are one checkpoint. Facts: the files that
transformers and huggingface_hub write.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from batchnorm.checkpoints.bounded_json import parsed_json
from batchnorm.checkpoints.checkpoint import Checkpoint, Entry
from batchnorm.checkpoints.source import ENTRY_COST, Source, quoted

__all__ = ["is_index", "read"]

MOST = 100_000  # files


def is_index(source: Source, start: bytes) -> bool:
    """Whether a file is such an index."""
    if start.lstrip()[:1] != b"{":
        return False
    return b'"weight_map"' in source.read(0, min(source.size, 1 << 20), "first bytes")


def read(source: Source, read_file: Callable[[Path], Checkpoint]) -> Checkpoint:
    """All arrays of the files that an index names."""
    source.spend(4 * source.size, "index")
    content = parsed_json(source, source.read(0, source.size, "index"), "index")
    table = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(table, dict) or not table:
        source.fail("index", "its weight_map is no table of names and files")
    files: dict[str, set[str]] = {}
    for name, file in table.items():
        source.spend(ENTRY_COST, "index")
        if not isinstance(file, str) or file in ("", ".", "..") or set(file) & set("/\\\0"):
            source.fail(
                f"entry {quoted(name)}", f"its file {quoted(file)} is no name in the folder"
            )
        files.setdefault(file, set()).add(name)
    if len(files) > MOST:
        source.fail("index", f"names {len(files)} files")
    parts: list[Checkpoint] = []
    try:
        for file, names in files.items():
            parts.append(_part(source, file, names, len(files), read_file))
        return _joined(source, parts)
    except BaseException:
        for part in parts:
            part.close()
        raise


def _part(
    source: Source, file: str, names: set[str], count: int, read_file: Callable[[Path], Checkpoint]
) -> Checkpoint:
    path = source.path.parent / file
    if not path.exists():
        source.fail(
            "index", f"the file {quoted(file)}, one of {count}, is missing; fetch all of them"
        )
    _refuse_index(source, path)
    part = read_file(path)
    unknown, missing = set(part) - names, names - set(part)
    if unknown or missing:
        part.close()
        what, name = ("holds", min(unknown)) if unknown else ("lacks", min(missing))
        source.fail(
            f"file {quoted(file)}",
            f"{what} {quoted(name)} against the index; the two are not of one checkpoint",
        )
    return part


def _refuse_index(source: Source, path: Path) -> None:
    """Indices of indices, which nobody writes, could name each other without an end."""
    part = Source(path)
    try:
        index = is_index(part, part.read(0, min(part.size, 512), "first bytes"))
    finally:
        part.close()
    if index:
        source.fail(
            f"file {quoted(path.name)}",
            "is an index too; an index names files of arrays: give the index that does",
        )


def _joined(source: Source, parts: list[Checkpoint]) -> Checkpoint:
    formats = {part.format for part in parts}
    if len(formats) > 1:
        source.fail("index", f"its files are of different formats: {', '.join(sorted(formats))}")
    frameworks = {part.framework for part in parts}
    metadata: dict[str, Any] = {}
    entries: dict[str, Entry] = {}
    for part in parts:
        source.extend(0 if part.source is None else part.source.whole.size)
        for space, value in part.metadata.items():
            if isinstance(value, dict) and isinstance(metadata.get(space, {}), dict):
                metadata[space] = {**metadata.get(space, {}), **value}
        entries.update(part.entries)
    return Checkpoint(
        entries=entries,
        format=formats.pop(),
        framework=frameworks.pop() if len(frameworks) == 1 else None,
        metadata=metadata,
        extras={name: value for part in parts for name, value in part.extras.items()},
        path=source.path,
        source=source,
        parts=tuple(parts),
    )
