"""Recordings as files: one safetensors file, whose metadata hold what isn't an array.

`__metadata__` has the key `batchnorm_recording`, a JSON object: `version`, and `recording`, in
which an array stands as {"array": name}, name being that of an entry of the file. The fields are
those of `recording.py` and `trace.py`. A file is read without any framework, and a
hostile one is a `CheckpointError`; it is written beside its place and renamed, so a run that is
killed leaves no half file.
"""

from __future__ import annotations

import dataclasses
import json
import os
import types
import typing
from pathlib import Path
from typing import Any

import numpy as np

from batchnorm import checkpoints
from batchnorm.checkpoints import Entry
from batchnorm.checkpoints.atomic import replacement
from batchnorm.checkpoints.bounded_json import parsed_json
from batchnorm.checkpoints.safetensors import write
from batchnorm.diagnose.recording import Node, Recording, Rule
from batchnorm.diagnose.trace import Corner, Statistics, Trace
from batchnorm.errors import CheckpointError

__all__ = ["VERSION", "load", "save"]

VERSION = 1
KEY = "batchnorm_recording"
NONE = "no recording of `batchnorm record`; checkpoints are compared by `batchnorm compare`"
LATER = frozenset({"chance"})  # fields that the first files lack
CLASSES = {c.__name__: c for c in (Corner, Node, Recording, Rule, Statistics, Trace)}


def save(recording: Recording, path: str | os.PathLike[str], *, force: bool = False) -> None:
    """Write a recording.

    Args:
        recording: what `record` gave.
        path: of the file.
        force: whether a file that is there may be replaced.

    Raises:
        CheckpointError: the file is there, or can't be written.
    """
    arrays: dict[str, Any] = {}
    packed = _packed(recording, "r", arrays)
    text = json.dumps({"version": VERSION, "recording": packed}, allow_nan=True)
    entries = [Entry.of(name, np.asarray(value)) for name, value in arrays.items()]
    with replacement(Path(path), force=force) as new:
        write(new.file, entries, {}, {"safetensors": {KEY: text}})


def load(path: str | os.PathLike[str]) -> Recording:
    """Read a recording.

    Raises:
        CheckpointError: it is none, is damaged, or was written by a newer version.
    """
    if checkpoints.detect(path) != "safetensors":
        raise CheckpointError(f"{path}: is {NONE}")
    with checkpoints.read(path, format="safetensors") as found:
        text = found.metadata.get("safetensors", {}).get(KEY)
        if not isinstance(text, str):
            raise CheckpointError(f"{path}: is a safetensors file, but {NONE}")
        assert found.source is not None
        whole = parsed_json(found.source, text.encode(), "recording")
        try:
            version = whole["version"]
            if version != VERSION:
                newer = isinstance(version, int) and version > VERSION
                raise CheckpointError(
                    f"{path}: a recording of version {version!r}, but this batchnorm reads version "
                    f"{VERSION}: {'update batchnorm here, or ' if newer else ''}record the model "
                    "again with this one"
                )
            arrays = {name: entry.load() for name, entry in found.items()}
            recording: Recording = _unpacked(whole["recording"], Recording, arrays)
            _check(recording)
        except CheckpointError:
            raise
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path}: a damaged recording: {error}") from None
    return recording


def _packed(value: Any, name: str, arrays: dict[str, Any]) -> Any:
    if dataclasses.is_dataclass(value):
        return {
            field.name: _packed(getattr(value, field.name), f"{name}/{field.name}", arrays)
            for field in dataclasses.fields(value)
        }
    if isinstance(value, np.ndarray):
        arrays[name] = value
        return {"array": name}
    if isinstance(value, dict):
        return {str(k): _packed(v, f"{name}/{k}", arrays) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_packed(v, f"{name}/{i}", arrays) for i, v in enumerate(value)]
    return value.item() if isinstance(value, np.generic) else value


def _unpacked(value: Any, kind: Any, arrays: dict[str, Any]) -> Any:
    """A value of a declared type; what isn't of that type is refused."""
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in inside:
            return None
        return _unpacked(value, next(k for k in inside if k is not type(None)), arrays)
    if origin is typing.Annotated:
        return _unpacked(value, inside[0], arrays)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind)
        fields = dataclasses.fields(kind)
        needed = {f.name for f in fields if f.name not in LATER}
        if not isinstance(value, dict) or not needed <= set(value) <= {f.name for f in fields}:
            raise ValueError(f"{kind.__name__} has not exactly its fields")
        return kind(**{k: _unpacked(v, hints[k], arrays) for k, v in value.items()})
    if origin is np.ndarray or kind is np.ndarray:
        found = arrays[value["array"]]
        if not isinstance(found, np.ndarray):
            raise ValueError("an array is none")
        return found
    if origin is dict:
        if not isinstance(value, dict):
            raise ValueError("a table is none")
        key = int if inside[0] is int else str
        return {key(k): _unpacked(v, inside[1], arrays) for k, v in value.items()}
    if origin is list:
        if not isinstance(value, list):
            raise ValueError("a list is none")
        return [_unpacked(v, inside[0], arrays) for v in value]
    if origin is tuple:
        rest = inside[0] if inside[-1] is Ellipsis else None
        kinds = [rest] * len(value) if rest is not None else list(inside)
        return tuple(_unpacked(v, k, arrays) for v, k in zip(value, kinds, strict=True))
    if kind in (int, float, str, bool):
        fits = isinstance(value, int | float) if kind is float else type(value) is kind
        if not fits or (kind is float and isinstance(value, bool)):
            raise ValueError(f"{value!r} is no {kind.__name__}")
        return kind(value)
    return value


def _check(recording: Recording) -> None:
    """Shapes that belong together."""
    rank, size = recording.rank
    if not 0 <= rank < size <= 1 << 20:
        raise ValueError(f"rank {rank} of {size}")
    for node in recording.nodes:
        for calls in node.calls.values():
            for trace in calls:
                if not all(isinstance(n, int) and 0 <= n < 1 << 40 for n in trace.shape):
                    raise ValueError(f"{node.name}: shape {trace.shape}")
                if trace.x.ndim != 2 or trace.y.ndim != 2 or len(trace.shape) < 2:
                    raise ValueError(f"{node.name}: its values have other shapes")
                for axis, found in trace.statistics.items():
                    length = trace.shape[axis]
                    rows = [found.mean, found.m2, found.peak]
                    if any(row.shape != (length,) for row in rows):
                        raise ValueError(f"{node.name}: its moments have other shapes")
                    if found.dy is not None and found.dy.shape != (4, length):
                        raise ValueError(f"{node.name}: its gradient's sums have other shapes")
                for extra in (trace.dx, trace.dy):
                    if extra is not None and extra.ndim != 2:
                        raise ValueError(f"{node.name}: its gradient has another shape")
