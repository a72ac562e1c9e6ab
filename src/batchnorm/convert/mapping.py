"""`--map FILE`: pairs of layers or arrays, in TOML; and the file that `--dump-map` writes.

    version = 1
    [layers]                                    # source = target
    "layer1.0.downsample.1" = "layer1.0.down_sample.1"
    "features.0" = ""                           # left out on purpose; so is all of a module's
    "classifier.0" = { to = "fc1", flatten = [16, 4, 4] }   # C, H, W before Flatten
    "norm" = { to = "norm", kind = "norm" }
    [arrays]
    "cls_token" = "tokens/cls"
    [fold]
    "conv1" = "bn1"                             # for --fold: the batch norm after a convolution

`flatten` permutes the rows of a dense layer between C·H·W and H·W·C. `kind` settles what a
checkpoint can't tell: batch_norm, batch_norm_3d, norm, dense, conv, conv_1d, conv_transpose,
depthwise, embedding.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from batchnorm.errors import CheckpointError
from batchnorm.printable import CONTROL, shown
from batchnorm.toml import read_toml, short

__all__ = ["FORMS", "KINDS", "LayerPair", "Map", "map_text", "read_map"]

VERSION = 1
LONGEST_SIDE = 1 << 32
FORMS = ("dense", "conv", "conv_1d", "conv_transpose", "depthwise", "embedding")  # of kernels
KINDS = ("batch_norm", "batch_norm_3d", "norm", *FORMS)


@dataclass(frozen=True)
class LayerPair:
    """What the map says of one layer of the source.

    Attributes:
        to: the target's layer; None where only something else is said, empty to leave it out.
        flatten: (C, spatial sizes) before Flatten, for a dense layer.
        kind: one of `KINDS`, or empty.
    """

    to: str | None = None
    flatten: tuple[int, ...] = ()
    kind: str = ""


@dataclass(frozen=True)
class Map:
    """A map: what belongs to what."""

    layers: Mapping[str, LayerPair] = field(default_factory=dict)
    arrays: Mapping[str, str] = field(default_factory=dict)
    fold: Mapping[str, str] = field(default_factory=dict)

    def of(self, path: str) -> LayerPair:
        """What it says of a layer."""
        return self.layers.get(path, LayerPair())

    def spread(self, paths: Sequence[str]) -> Map:
        """The map with a module that is left out as the layers in it."""
        found: dict[str, LayerPair] = {}
        for name, pair in self.layers.items():
            inside = [p for p in paths if p.startswith((f"{name}.", f"{name}/"))]
            whole = pair == LayerPair("") and name not in paths and inside
            found.update(dict.fromkeys(inside, pair) if whole else {name: pair})
        return Map(found, self.arrays, self.fold)


def read_map(given: str | os.PathLike[str] | Mapping[str, Any] | Map | None) -> Map:
    """A map from a TOML file or from what one holds.

    Raises:
        CheckpointError: it isn't one; says where.
    """
    if given is None:
        return Map()
    if isinstance(given, Map):
        return given
    place = "the map"
    if isinstance(given, Mapping):
        content: Mapping[str, Any] = given
    else:
        place, content = shown(os.fspath(given)), read_toml(given, "a map")
    unknown = set(content) - {"version", "layers", "arrays", "fold"}
    if unknown or content.get("version", VERSION) != VERSION:
        raise CheckpointError(
            f"{place}: expected version = {VERSION} and the tables layers, arrays and fold, "
            f"but got {', '.join(map(short, unknown)) or 'version ' + short(content['version'])}"
        )
    tables = {name: content.get(name, {}) for name in ("layers", "arrays", "fold")}
    for name, table in tables.items():
        if not isinstance(table, Mapping):
            raise CheckpointError(f"{place}: {name} must be a table, but is {short(table)}")
    for name in ("arrays", "fold"):
        for key, value in tables[name].items():
            if not isinstance(value, str):
                raise CheckpointError(
                    f"{place}: [{name}] {key!r} must be a name, got {short(value)}"
                )
    layers = {name: _pair(place, name, value) for name, value in tables["layers"].items()}
    return Map(layers, dict(tables["arrays"]), dict(tables["fold"]))


def _pair(place: str, name: str, value: Any) -> LayerPair:
    if isinstance(value, str):
        return LayerPair(value)
    if not isinstance(value, Mapping) or set(value) - {"to", "flatten", "kind"}:
        raise CheckpointError(
            f"{place}: [layers] {name!r} must be a name or a table of to, flatten and kind, "
            f"but is {short(value)}"
        )
    to, flatten, kind = value.get("to"), value.get("flatten", ()), value.get("kind", "")
    good = to is None or isinstance(to, str)
    good = good and isinstance(kind, str) and kind in ("", *KINDS)
    good = good and isinstance(flatten, list | tuple)
    if not good or not all(type(n) is int and 0 < n < LONGEST_SIDE for n in flatten):
        raise CheckpointError(
            f"{place}: [layers] {name!r}: expected to = a name, flatten = [C, H, W], "
            f"kind = one of {', '.join(KINDS)}; got {short(value)}"
        )
    return LayerPair(to, tuple(flatten), kind)


def map_text(
    pairs: Iterable[tuple[str, LayerPair]],
    arrays: Iterable[tuple[str, str]] = (),
    notes: Iterable[str] = (),
    open_ends: Iterable[tuple[str, Sequence[str]]] = (),
) -> str:
    """The TOML of a map, ready to edit; `notes` become comments below it.

    Each of `open_ends`, a layer and what it could be, becomes a line that counts once its `# ` is
    taken away.
    """
    lines = [f"version = {VERSION}", "", '[layers]  # source = target; "" leaves a layer out']
    for name, pair in pairs:
        to = _text(pair.to or "")
        more = f", flatten = {list(pair.flatten)}" if pair.flatten else ""
        more += f", kind = {_text(pair.kind)}" if pair.kind else ""
        lines.append(f"{_text(name)} = " + (f"{{ to = {to}{more} }}" if more else to))
    waiting = [_open_line(name, choices) for name, choices in open_ends]
    if waiting:
        lines += ["# Without counterpart: take the first # away where the pair is right.", *waiting]
    listed = [f"{_text(a)} = {_text(b)}" for a, b in arrays]
    if listed:
        lines += ["", "[arrays]", *listed]
    remarks = [f"# {line}" for note in notes for line in note.splitlines()]
    return "\n".join([*lines, *([""] if remarks else []), *remarks]) + "\n"


def _open_line(name: str, choices: Sequence[str]) -> str:
    line = f"# {_text(name)} = {_text(choices[0] if choices else '')}"
    if not choices:
        return line + "  # left out: no layer that is left has its shape"
    return line + (f"  # or {', '.join(map(_text, choices[1:]))}" if choices[1:] else "")


def _text(value: str) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return CONTROL.sub(lambda found: f"\\U{ord(found[0]):08x}", text)  # no pairs, as JSON has
