"""What a conversion writes about itself into the target, so that A → B → A loses nothing.

    metadata["batchnorm"] = {
      "version": 1, "framework": B's, "source": {"framework": A's, "format": …},
      "origin": the first framework of all, whose defaults unknown settings are,
      "names":   {name in B: [name in A] or [name in A, split, axes, shape in A]},
      "paths":   {layer in B: layer in A},
      "made":    [names in B of arrays that A doesn't have: gamma of 1, beta of 0],
      "dropped": {layer in B: {role: dtype}},  arrays of A that were all 1 (gamma) or 0 (beta)
      "tracked": {layer in B: num_batches_tracked},
      "kept":    {layer in B: {role: array, see `packed`}},  what B has no place for: renorm's
      "wrapper": the prefix of every name in A, such as "module.", if A was no nested dictionary;
          a table of path and what stands behind it, if wrappers stood inside names, too
      "settings": {layer in B: {"epsilon": …, "weight_of_batch" or "weight_of_running": …}},
      "scalars": {name: dtype}, "layers": what A's file said of its layers, "folded": see `fold`
    }

The file may be a stranger's, so whatever doesn't have this form is taken as not written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from batchnorm.convert.layout import Step
from batchnorm.convert.settings import Settings
from batchnorm.convert.wrappers import Wrapping

__all__ = ["Record"]

VERSION = 1
MOST = 1 << 62  # of batches, and of an array's sides


@dataclass
class Record:
    """One conversion's record, to be written or as read back."""

    framework: str
    source: str
    source_format: str = ""
    origin: str = ""
    names: dict[str, tuple[str, Step | None]] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)
    dropped: dict[str, dict[str, str]] = field(default_factory=dict)
    tracked: dict[str, int] = field(default_factory=dict)
    kept: dict[str, dict[str, Any]] = field(default_factory=dict)
    wrapping: Wrapping = field(default_factory=Wrapping)
    settings: dict[str, Any] = field(default_factory=dict)
    scalars: dict[str, str] = field(default_factory=dict)
    layers: dict[str, Any] = field(default_factory=dict)
    folded: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """What goes into the metadata; empty parts are left out."""
        names: dict[str, list[Any]] = {}
        for new, (old, back) in self.names.items():
            steps = [] if back is None else [back.split, back.axes, back.shape]
            names[new] = [old, *(list(s) for s in steps)]
        parts = {
            "names": names,
            "paths": self.paths,
            "made": self.made,
            "dropped": self.dropped,
            "tracked": self.tracked,
            "kept": self.kept,
            "wrapper": self.wrapping.as_json(),
            "settings": self.settings,
            "scalars": self.scalars,
            "layers": self.layers,
            "folded": self.folded,
        }
        source = {"framework": self.source, "format": self.source_format}
        head: dict[str, Any] = {"version": VERSION, "framework": self.framework, "source": source}
        if self.origin:
            head["origin"] = self.origin
        return {**head, **{name: part for name, part in parts.items() if part}}

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Record:
        """A record as it was written; parts of another form are left out."""
        source = given.get("source")
        plain = source if isinstance(source, Mapping) else {}
        record = cls(
            _text(given.get("framework")),
            _text(plain.get("framework")),
            _text(plain.get("format")),
            _text(given.get("origin")),
        )
        for new, value in _table(given, "names").items():
            found = _name(value)
            if found is not None:
                record.names[new] = found
        texts = _table(given, "paths").items()
        record.paths = {new: old for new, old in texts if isinstance(old, str)}
        made = given.get("made", [])
        record.made = [n for n in made if isinstance(n, str)] if isinstance(made, list) else []
        for path, roles in _table(given, "dropped").items():
            if isinstance(roles, Mapping):
                record.dropped[path] = {r: d for r, d in roles.items() if isinstance(d, str)}
        counts = _table(given, "tracked").items()
        record.tracked = {path: n for path, n in counts if type(n) is int and -MOST < n < MOST}
        for path, arrays in _table(given, "kept").items():
            if isinstance(arrays, Mapping):
                record.kept[path] = dict(arrays)
        record.wrapping = Wrapping.of(given.get("wrapper"))
        for path, said in _table(given, "settings").items():
            record.settings[path] = Settings.from_json(said).as_json()
        scalars = _table(given, "scalars").items()
        record.scalars = {n: d for n, d in scalars if isinstance(d, str)}
        layers = _table(given, "layers").items()
        record.layers = {n: f for n, f in layers if isinstance(f, dict)}
        record.folded = {n: f for n, f in _table(given, "folded").items() if isinstance(f, dict)}
        return record


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _table(given: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = given.get(name)
    return part if isinstance(part, Mapping) else {}


def _name(value: Any) -> tuple[str, Step | None] | None:
    if not isinstance(value, list) or not value or not isinstance(value[0], str):
        return None
    if len(value) == 1:
        return value[0], None
    numbers = value[1:]
    good = len(value) == 4 and all(
        isinstance(n, list) and all(type(i) is int and 0 <= i < MOST for i in n) for n in numbers
    )
    if not good:
        return None
    split, axes, shape = (tuple(n) for n in numbers)
    if sorted(axes) != list(range(len(split))):
        return None
    return value[0], Step(split, axes, shape, "put back as it was")
