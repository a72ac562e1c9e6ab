"""`inspect`: the batch-norm layers of a checkpoint, their settings, and signs of trouble."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from batchnorm.checkpoints import Entry
from batchnorm.convert.groups import Group, counted, incomplete, still_counters
from batchnorm.convert.notes import left_alone, passed_over, still_note
from batchnorm.convert.settings import known_settings, read_settings
from batchnorm.convert.source import Readable, Source, opened, source_of
from batchnorm.printable import shown
from batchnorm.reported import Reported
from batchnorm.vocabulary import Array

if TYPE_CHECKING:  # the command's own dependency, imported when something is printed
    from rich.console import Console

__all__ = ["Inspection", "LayerFacts", "inspect"]

FRESH = "statistics as at the start (mean 0, variance 1): never updated"


@dataclass(frozen=True)
class LayerFacts:
    """One batch-norm layer.

    Attributes:
        layer: its path.
        channels: C.
        state: role -> name in the file.
        dtype: of the statistics.
        settings: eps and momentum in the file's framework's words, as far as they are known.
        batches: num_batches_tracked, where it is stored.
        trouble: what looks wrong.
    """

    layer: str
    channels: int
    state: Mapping[str, str]
    dtype: str
    settings: Mapping[str, float | None]
    batches: int | None
    trouble: tuple[str, ...]


@dataclass(repr=False)
class Inspection(Reported):
    """What a checkpoint holds."""

    source: str
    format: str
    framework: str
    arrays: int
    values: int
    layers: list[LayerFacts] = field(default_factory=list)
    others: dict[str, int] = field(default_factory=dict)
    extras: dict[str, Any] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)
    group: str = ""
    passed_over: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """1 if a layer looks wrong or is incomplete."""
        return 1 if self.problems or any(layer.trouble for layer in self.layers) else 0

    def as_json(self) -> dict[str, Any]:
        """One object; its form is stable within a version."""
        return {"version": 1, "command": "inspect", "exit_code": self.exit_code, **asdict(self)}

    def print(self, console: Console) -> None:
        """A table of the layers, then one line on the rest."""
        from rich.table import Table
        from rich.text import Text

        usual, unlike = self._usual()
        table = Table(box=None, pad_edge=False, header_style="bold")
        titles = ["batch norm", "channels", "settings", "trouble"]
        for title in titles if not unlike else [*titles[:2], "state", *titles[2:]]:
            table.add_column(title, overflow="fold")
        for layer in self.layers:
            said = ", ".join(f"{n}={v}" for n, v in layer.settings.items()) or "unknown"
            batches = "" if layer.batches is None else f", {layer.batches} batches"
            state = [" ".join(_leaves(layer))] if unlike else []
            cells = (
                layer.layer,
                f"{layer.channels} {layer.dtype}",
                *state,
                said + batches,
                "; ".join(layer.trouble) or "—",
            )
            style = "red" if layer.trouble else ""
            table.add_row(*(Text(shown(cell)) for cell in cells), style=style)
        if self.layers:
            console.print(table)
        if usual and not unlike:
            line = f"state of each: {' '.join(usual)}"
            console.print(shown(line), highlight=False, markup=False)
        for owner, count in self.left.items():
            line = f"note: {left_alone(owner, count)}"
            console.print(shown(line), highlight=False, markup=False)
        for note in self.notes:
            console.print(f"note: {shown(note)}", highlight=False, markup=False)
        if self.passed_over:
            line = f"note: {passed_over(self.passed_over)}"
            console.print(shown(line), highlight=False, markup=False)
        for problem in self.problems:
            line = f"problem: {shown(problem)}"
            console.print(line, style="red", highlight=False, markup=False)
        others = ", ".join(f"{count} {kind}" for kind, count in self.others.items())
        troubled = len([layer for layer in self.layers if layer.trouble])
        console.print(
            f"{shown(self.source)}: {self.format}, {self.framework}, {self.arrays} arrays, "
            f"{self.values} values; {len(self.layers)} batch norms"
            + (f", {troubled} with signs of trouble" if troubled else "")
            + (f"; besides {others}" if others else ""),
            highlight=False,
            markup=False,
        )

    def _usual(self) -> tuple[tuple[str, ...], bool]:
        """The state's names of the first layer, and whether another layer has others."""
        found = {_leaves(layer): None for layer in self.layers}
        return next(iter(found), ()), len(found) > 1


def inspect(
    source: Readable,
    *,
    framework: str | None = None,
    group: str | None = None,
    settings: Any = None,
) -> Inspection:
    """List the batch-norm layers of a checkpoint or live model, with signs of trouble.

    Args:
        source: a file, a mapping of names to arrays, or a live model.
        framework: whose names it has, where it doesn't say so.
        group: the dictionary, or the beginning of names, with the model's state.
        settings: as `convert` takes them.

    Raises:
        CheckpointError: the file is bad.

    Example:
        >>> import numpy as np, batchnorm as bn
        >>> found = bn.inspect({"a.running_mean": np.zeros(2), "a.running_var": -np.ones(2)})
        >>> found.layers[0].trouble
        ('negative variance in 2 of 2 channels',)
    """
    with opened(source) as checkpoint:
        given = source_of(checkpoint, framework, group)
        layers, fresh = _layers(given, read_settings(settings, given.framework))
        kinds = {"kernel": "kernels", "affine": "other norms", "single": "other arrays"}
        others: dict[str, int] = {}
        for item in given.groups:
            if item.kind in kinds:
                name = kinds[item.kind]
                others[name] = others.get(name, 0) + 1
        return Inspection(
            given.name,
            checkpoint.format,
            given.framework,
            len(given.checkpoint),
            sum(_size(e) for e in given.checkpoint.values()),
            layers,
            others,
            dict(given.extras),
            dict(given.left),
            given.group,
            given.passed_over,
            [*_notes(given), *fresh],
            [*([given.shard] if given.shard else []), *incomplete(given.groups)],
        )


def _layers(source: Source, said: Any) -> tuple[list[LayerFacts], list[str]]:
    """The batch norms; and a note, instead of trouble, if none of a model was ever trained."""
    layers = [_facts(g, source, said) for g in source.groups if g.kind == "batch_norm"]
    if layers and all(f.batches == 0 and f.trouble == (FRESH,) for f in layers):
        note = f"all {len(layers)} batch norms have {FRESH}, and 0 batches counted: never trained"
        return [replace(facts, trouble=()) for facts in layers], [note]
    return layers, []


def _notes(source: Source) -> list[str]:
    """What is to be known and is no trouble."""
    notes = [source.aside.words()] if source.aside.words() else []
    still = still_counters(source.groups)
    notes += [still_note(still)] if still else []
    return notes


def _facts(group: Group, source: Source, said: Any) -> LayerFacts:
    count = group.members.get("count")
    batches = counted(count) if count is not None else None
    if batches is None and isinstance(source.ours.get("tracked"), Mapping):
        stored = source.ours["tracked"].get(group.path)
        batches = stored if type(stored) is int else None
    return LayerFacts(
        group.label,
        group.channels,
        {role: entry.name for role, entry in group.members.items()},
        str(group.members["running_mean"].dtype),
        known_settings(group, source.ours, said).words(source.framework),
        batches,
        tuple(_trouble(group, batches)),
    )


def _trouble(group: Group, batches: int | None) -> list[str]:
    found = []
    for role, entry in group.members.items():
        if entry.dtype.kind == "c" and role != "count":
            found.append(f"{role}: complex values, which no batch norm has")
        values = _real(entry)
        bad = int((~np.isfinite(values)).sum())
        if bad:
            found.append(f"{role}: {bad} of {values.size} values are not finite")
    roles = ("running_mean", "running_var")
    mean, var = (_real(group.members[role]) for role in roles)
    for what, bad in (("negative", int((var < 0).sum())), ("zero", int((var == 0).sum()))):
        if bad:
            found.append(f"{what} variance in {bad} of {var.size} channels")
    if var.size and not mean.any() and (var == 1).all():
        found.append(FRESH)
        if batches:
            found[-1] += f", although {batches} batches were counted"
    if batches is None and "count" in group.members:
        found.append(f"{group.members['count'].load().item()} is no number of batches")
    if batches is not None and batches < 0:
        found.append(f"{batches} batches were counted")
    return found


def _real(entry: Entry) -> Array:
    values = entry.load()
    return (values.real if values.dtype.kind == "c" else values).astype(np.float64)


def _leaves(layer: LayerFacts) -> tuple[str, ...]:
    return tuple(name.rpartition("/")[2].rpartition(".")[2] for name in layer.state.values())


def _size(entry: Entry) -> int:
    return entry.nbytes // entry.dtype.itemsize
