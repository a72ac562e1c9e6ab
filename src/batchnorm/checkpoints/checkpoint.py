"""`Entry` and `Checkpoint`: what a file holds, in the file's own order and under its own names.

Nothing is loaded until it is asked for. Neither class knows a dialect: an entry is a name, a shape,
a type and values; what a name means is decided above.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from batchnorm.checkpoints.source import Source, quoted
from batchnorm.checkpoints.steps import Step
from batchnorm.checkpoints.storage import Array, MemoryStorage
from batchnorm.checkpoints.streamed import Streamed
from batchnorm.checkpoints.strided import Layout, Strided
from batchnorm.errors import CheckpointError

__all__ = ["CHUNK", "Checkpoint", "Entry", "Extra", "collected"]

CHUNK = 8 << 20  # bytes per piece where the caller names no size
MOST_DIMENSIONS, LARGEST = 64, (1 << 63) - 1  # of NumPy's arrays; bytes
TIMES = 32  # arrays that share a storage may add up to this many times the file's size

Extra = bool | int | float | str | None  # what a checkpoint may hold beside arrays


class Entry:
    """One named array of a checkpoint, loaded only when asked.

    Args:
        name: the name as the file has it.
        layout: where the values come from; the constructors below make one.

    Example:
        >>> entry = Entry.of("fc.weight", np.arange(6.0).reshape(2, 3))
        >>> entry.shape, str(entry.dtype), entry.nbytes
        ((2, 3), 'float64', 48)
        >>> entry.rearranged("fc/kernel", (2, 3), (1, 0), (3, 2)).load().tolist()
        [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
    """

    __slots__ = ("layout", "name", "shape")

    def __init__(self, name: str, layout: Layout, shape: tuple[int, ...] | None = None) -> None:
        self.name = name
        self.layout = layout
        self.shape = layout.shape if shape is None else shape
        fault = _shape_fault(self.shape, layout.dtype.itemsize)
        if fault:
            where = layout.storage.label if isinstance(layout, Strided) else layout.place
            raise CheckpointError(f"{where}: entry {quoted(name)}: {fault}".removeprefix(": "))
        if math.prod(self.shape) != math.prod(layout.shape):
            raise CheckpointError(
                f"entry {quoted(name)}: shape {self.shape} can't hold the values of {layout.shape}"
            )

    @classmethod
    def of(cls, name: str, values: object) -> Entry:
        """An entry that holds an array (or what NumPy makes one of) in memory."""
        array = np.asarray(values)
        if array.dtype.hasobject or array.dtype.names or array.dtype.kind in "SUMm":
            raise CheckpointError(
                f"entry {quoted(name)}: type {array.dtype} is not a number; "
                "a checkpoint holds arrays of numbers"
            )
        if not array.dtype.isnative:
            array = array.astype(array.dtype.newbyteorder("="))
        place = f"entry {quoted(name)}"
        return cls(name, Strided.contiguous(MemoryStorage(array), array.dtype, array.shape, place))

    @classmethod
    def streamed(
        cls,
        name: str,
        shape: tuple[int, ...],
        dtype: object,
        chunks: Callable[[int], Iterator[Array]],
    ) -> Entry:
        """An entry whose values are computed piece by piece.

        Args:
            name: the entry's name.
            shape: the array's shape.
            dtype: anything that `numpy.dtype` takes.
            chunks: called with a number of bytes, yields one-dimensional arrays in C order.
        """
        kind: np.dtype[Any] = np.dtype(dtype)  # type: ignore[call-overload]
        return cls(name, Streamed(tuple(shape), kind, chunks, f"entry {quoted(name)}"))

    @property
    def dtype(self) -> np.dtype[Any]:
        """The values' type, in native byte order."""
        return self.layout.dtype

    @property
    def nbytes(self) -> int:
        """Bytes that the loaded array takes."""
        return math.prod(self.shape) * self.dtype.itemsize

    def load(self) -> Array:
        """The array, C-contiguous and in native byte order; a fresh copy each time."""
        return self.layout.load().reshape(self.shape)

    def chunks(self, max_bytes: int = CHUNK) -> Iterator[Array]:
        """The values in C order as one-dimensional arrays of at most about `max_bytes`."""
        return self.layout.chunks(max_bytes)

    def renamed(self, name: str) -> Entry:
        """The same values under another name."""
        return Entry(name, self.layout, self.shape)

    def rearranged(
        self, name: str, split: tuple[int, ...], axes: tuple[int, ...], shape: tuple[int, ...]
    ) -> Entry:
        """The values reshaped to `split`, transposed by `axes`, reshaped to `shape`; still lazy.

        Uncompressed files are read in the new order piece by piece. A kernel OIHW becomes HWIO by
        `split=(O, I, H, W), axes=(2, 3, 1, 0)`; the rows of a Dense kernel after Flatten go from
        C·H·W to H·W·C by `split=(C, H, W, units), axes=(1, 2, 0, 3), shape=(H*W*C, units)`.
        """
        fault = _shape_fault(split, self.dtype.itemsize)
        if (
            fault
            or math.prod(split) != math.prod(self.shape)
            or sorted(axes) != list(range(len(split)))
        ):
            raise CheckpointError(
                f"entry {quoted(self.name)}: shape {self.shape} can't be split as "
                f"{quoted(split)[1:-1]} and transposed by {quoted(axes)[1:-1]}"
            )
        layout = self.layout
        if layout.shape != self.shape:  # was rearranged before: its shape hides that order
            layout = Streamed(self.shape, self.dtype, layout.chunks, f"entry {quoted(self.name)}")
        return Entry(name, layout.rearranged(split, axes), shape)

    def __array__(self, dtype: object = None, copy: bool | None = None) -> Array:
        """Let NumPy functions take an entry as an array."""
        array = self.load()
        return array if dtype is None else array.astype(dtype)  # type: ignore[call-overload]

    def __repr__(self) -> str:
        return f"Entry({quoted(self.name)}, shape={self.shape}, dtype={self.dtype})"


@dataclass(eq=False)
class Checkpoint(Mapping[str, Entry]):
    """What a checkpoint file holds: a mapping from name to `Entry`, in the file's order.

    Args:
        entries: name -> entry.
        format: one of `batchnorm.checkpoints.FORMATS`.
        framework: "torch", "mindspore", "keras", "tf_keras" where the file says so, else None.
        metadata: JSON by namespace. "batchnorm" is ours and written into every format; "torch",
            "mindspore", "keras", "safetensors" hold what the format itself records; "layers" has
            what it says of a layer, by the prefix of the layer's entries: torch's module version,
            Keras's class, config, path and weight names (see `keras_layers`).
        extras: numbers, strings and flags that are not arrays, such as `epoch`.
        groups: prefixes of `group`, the nested dictionaries that hold arrays; "" is the file.
        path: the file, or the index of several.
        steps: the model's calls, where the file says them (see `Step`).
        parts: the checkpoints of several files, which hold the entries.
    """

    entries: dict[str, Entry]
    format: str
    framework: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    extras: dict[str, Extra] = field(default_factory=dict)
    groups: tuple[str, ...] = ("",)
    path: Path | None = None
    source: Source | None = field(default=None, repr=False)
    steps: tuple[Step, ...] = field(default=(), repr=False)
    parts: tuple[Checkpoint, ...] = field(default=(), repr=False)

    @property
    def paths(self) -> list[Path]:
        """All files that it is read from."""
        own = [self.path] if self.path is not None else []
        return [*own, *(path for part in self.parts for path in part.paths)]

    def __getitem__(self, name: str) -> Entry:
        return self.entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def load(self) -> dict[str, Array]:
        """All arrays, by name; refused where they share storages and take more than `limit`."""
        total = sum(entry.nbytes for entry in self.entries.values())
        if self.source is not None and total > self.source.limit:
            self.source.fail(
                "the arrays",
                f"take {total} bytes together, because they share their data; load them one by one",
            )
        return {name: entry.load() for name, entry in self.entries.items()}

    def group(self, prefix: str) -> Checkpoint:
        """The entries and values below `prefix/`, under their names without it."""
        if prefix not in self.groups:
            raise CheckpointError(
                f"{self.path}: has no group {quoted(prefix)}; it has "
                + ", ".join(quoted(g) for g in self.groups[:10])
            )
        if not prefix:
            return self
        start = prefix + "/"
        layers = {
            n[len(start) :]: v
            for n, v in self.metadata.get("layers", {}).items()
            if n.startswith(start)
        }
        inner = [e.renamed(n[len(start) :]) for n, e in self.entries.items() if n.startswith(start)]
        return Checkpoint(
            entries={entry.name: entry for entry in inner},
            format=self.format,
            framework=self.framework,
            metadata={**self.metadata, **({"layers": layers} if layers else {})},
            extras={n[len(start) :]: v for n, v in self.extras.items() if n.startswith(start)},
            groups=("", *(g[len(start) :] for g in self.groups if g.startswith(start))),
            path=self.path,
            source=self.source,
            parts=self.parts,
        )

    @property
    def skipped(self) -> dict[str, str]:
        """Objects of a torch file that are neither arrays nor plain values: path -> class."""
        held = self.metadata.get("torch")
        found = held.get("skipped") if isinstance(held, Mapping) else None
        return dict(found) if isinstance(found, Mapping) else {}

    @property
    def holds_modules(self) -> bool:
        """Whether a torch file's arrays are those of whole modules, and not of a state dict."""
        return bool(self.metadata.get("torch", {}).get("modules"))

    def close(self) -> None:
        """Close the file; entries that were not loaded can't be loaded any more."""
        if self.source is not None:
            self.source.close()
        for part in self.parts:
            part.close()

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _shape_fault(shape: tuple[int, ...], itemsize: int) -> str:
    """Why no array can have this shape; a 0 among its sides doesn't make the others small."""
    if len(shape) > MOST_DIMENSIONS:
        return f"{len(shape)} dimensions; an array has at most {MOST_DIMENSIONS}"
    if math.prod(max(side, 1) for side in shape) * itemsize > LARGEST:
        return f"shape {quoted(shape)[1:-1]}, which no array can have; the file is damaged"
    return ""


def collected(source: Source, entries: Iterable[Entry]) -> dict[str, Entry]:
    """Entries by name, each name once; together no larger than a file of this size may make."""
    found: dict[str, Entry] = {}
    left = source.limit + TIMES * source.whole.size
    for entry in entries:
        left -= entry.nbytes
        if left < 0:
            source.fail(
                f"entry {quoted(entry.name)}",
                f"the arrays up to here take more than {TIMES} times the file's size; it is "
                "damaged or made to fill a disk",
            )
        if entry.name in found:
            source.fail(f"entry {quoted(entry.name)}", "the name occurs twice; the file is damaged")
        found[entry.name] = entry
    return found
