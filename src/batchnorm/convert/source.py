"""A checkpoint opened for conversion: the model's own part, its wrapper's prefix taken off.

`{"state_dict": …, "epoch": …}`, wrappers' words (`wrappers`), what a training run left
(`bookkeeping`), an optimizer's copies of the parameters (MindSpore's `moments.bn1.gamma`) and the
scalars of `append_dict` are told from the model's state here, so that nobody above sees them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Literal, TypeAlias

from batchnorm.checkpoints import Checkpoint, Entry, read
from batchnorm.checkpoints.checkpoint import Extra
from batchnorm.checkpoints.detection import CONFIGURED, NESTED, UNORDERED
from batchnorm.checkpoints.steps import Step
from batchnorm.convert.bookkeeping import Aside, averages, set_aside
from batchnorm.convert.frameworks import framework_of
from batchnorm.convert.groups import Group, grouped, separator
from batchnorm.convert.live import checkpoint_of, checkpoint_of_mapping
from batchnorm.convert.record import Record
from batchnorm.convert.wrappers import Wrapping, wrapping
from batchnorm.errors import CheckpointError
from batchnorm.frameworks import find

__all__ = ["Order", "Readable", "Source", "opened", "read_any", "source_of"]

Readable: TypeAlias = str | os.PathLike[str] | Checkpoint | Mapping[str, Any] | Any

Order: TypeAlias = Literal["model", "class", "none"]

STATE_DICTS = ("state_dict", "model_state_dict", "model", "net", "network", "module", "params")
OTHERS = ("optimizer", "optimizer_weights", "metrics", "loss")  # dictionaries of a trainer
SHARD = re.compile(r"(.+)-(\d+)-of-(\d+)\.\w+")


@dataclass
class Source:
    """The model's part of a checkpoint.

    Attributes:
        checkpoint: its entries, without wrapper.
        framework: whose names they are.
        groups: its layers.
        extras: plain values beside the arrays, scalars of MindSpore's `append_dict` included.
        scalars: the dtypes of those that were arrays.
        wrapping: the words that were taken out of names.
        aside: what a training run left among the arrays.
        group: the dictionary or prefix that was taken, empty for the whole file.
        left: what is no part of the model's state and was left alone: how many arrays, by owner.
        order: what the entries' order says: "model" is the model's; safetensors files are sorted by
            name ("none"), a `.weights.h5` without config by class, in the model's order within one
            ("class") unless models are nested ("none").
        ours: what an earlier conversion wrote about itself.
    """

    checkpoint: Checkpoint
    framework: str
    groups: list[Group]
    extras: dict[str, Extra] = field(default_factory=dict)
    scalars: dict[str, str] = field(default_factory=dict)
    wrapping: Wrapping = field(default_factory=Wrapping)
    aside: Aside = field(default_factory=Aside)
    group: str = ""
    left: dict[str, int] = field(default_factory=dict)
    order: Order = "model"
    ours: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ordered(self) -> bool:
        """Whether the order of all layers is the model's."""
        return self.order == "model"

    @property
    def passed_over(self) -> dict[str, str]:
        """Objects of a torch file that are neither arrays nor plain values: path -> class."""
        return self.checkpoint.skipped

    @property
    def shard(self) -> str:
        """Of how many files this is one, in words; empty if it is no shard of several."""
        path = self.checkpoint.path
        found = SHARD.fullmatch(path.name) if path is not None else None
        if found is None or int(found[3]) < 2:
            return ""
        index = f"{found[1]}{path.suffix}.index.json" if path is not None else ""
        return (
            f"{path} is one of {int(found[3])} files that hold the model together; give their "
            f"index ({index}), which names them all"
        )

    @property
    def name(self) -> str:
        """The file, or what stands for it."""
        path = self.checkpoint.path
        return str(path) if path is not None else f"a {self.framework} state in memory"


@contextlib.contextmanager
def opened(given: Readable, batch: Any = None) -> Iterator[Checkpoint]:
    """A checkpoint of a path, of a mapping or of a live model; closed at the end if it was a path.

    Args:
        given: the source.
        batch: what a live model is run on.

    Raises:
        CheckpointError: the file is bad.
        TypeError: it is none of them.
    """
    checkpoint = read_any(given, batch)
    try:
        yield checkpoint
    finally:
        if checkpoint is not given:
            checkpoint.close()


def read_any(given: Readable, batch: Any = None) -> Checkpoint:
    """The same, left open: a file is closed with the last entry of it, or by `close`."""
    if isinstance(given, Checkpoint):
        return given
    if isinstance(given, str | os.PathLike):
        return read(given)
    if isinstance(given, Mapping):
        return checkpoint_of_mapping(given)
    return checkpoint_of(given, batch)


def source_of(
    checkpoint: Checkpoint,
    framework: str | None = None,
    group: str | None = None,
    *,
    parameters: Collection[str] = (),
    to: str | None = None,
) -> Source:
    """The model's part of a checkpoint.

    Args:
        checkpoint: the file.
        framework: whose it is, if that was said.
        group: the dictionary or prefix that was asked for.
        parameters: the other side's names; a scalar of such a name is the model's, no trainer's.
        to: the framework that it is converted to, if it is.

    Raises:
        CheckpointError: it isn't known whose it is, or which of several dictionaries is meant.
    """
    chosen = _chosen(checkpoint, group)
    part = checkpoint.group(chosen) if chosen else checkpoint
    left: dict[str, int] = {}
    if chosen:
        for name in checkpoint:
            if not name.startswith(f"{chosen}/"):
                owner = name.partition("/")[0]
                left[owner] = left.get(owner, 0) + 1
    outer = {n: v for n, v in checkpoint.extras.items() if "/" not in n} if chosen else {}
    extras = {**outer, **part.extras}
    found = framework_of(part, framework)
    room = find(found).room("saved")
    recorded = part.metadata.get("batchnorm", {})
    whole = isinstance(recorded, Mapping) and recorded
    ours: Mapping[str, Any] = Record.of(recorded).as_json() if whole else {}
    prefix = group if group and group != chosen else ""
    arrays = Record.of(ours).names  # what an earlier conversion wrote is no trainer's
    keep = {*arrays, *parameters}
    entries = part.entries
    if prefix:
        entries, prefix = _averaged(entries, prefix)
    copying = to == found and not parameters
    entries, aside = set_aside(entries, room, keep, observers=not copying)
    outer_words = room.OUTER if to is not None and (not copying or chosen or aside.words()) else ()
    entries, layers, wrapped = _unwrapped(entries, part, room, outer_words, keep, aside)
    if prefix:
        entries, others = _below(entries, prefix, checkpoint)
        left.update(others)
        layers = {n.removeprefix(prefix)[1:]: f for n, f in layers.items() if n.startswith(prefix)}
    scalars: dict[str, str] = {}
    if room.SCALARS:
        names = [n for n, e in entries.items() if e.shape == () and "." not in n]
        for name in [n for n in names if n not in keep]:
            entry = entries.pop(name)
            extras[name] = entry.load().item()
            scalars[name] = str(entry.dtype)
    entries, slots = _without_slots(entries, room, separator(found))
    left.update(slots)
    order = _order(part, bool(ours))
    inner = Checkpoint(
        entries,
        part.format,
        found,
        {**part.metadata, "layers": layers},
        extras,
        path=part.path,
        source=part.source,
        steps=_bare(part.steps, wrapped) if not prefix else (),
        parts=part.parts,
    )
    groups = grouped(inner, found)
    if part.format in CONFIGURED and not ours:
        for one in groups:
            one.placed = "config" in one.facts
    return Source(
        inner,
        found,
        groups,
        extras,
        scalars,
        wrapped,
        aside,
        group or chosen,
        left,
        order=order,
        ours=ours,
    )


def _order(part: Checkpoint, ours: bool) -> Order:
    """What the entries' order says; Keras lists what its config doesn't by class and by name."""
    if ours or part.format not in UNORDERED:
        return "model"
    layers = part.metadata.get("layers", {}).values()
    if any("config" in facts for facts in layers):
        return "model"
    folders: dict[str, set[str]] = {}
    for facts in layers:
        folder = str(facts.get("path", "")).rpartition("/")[0]
        folders.setdefault(str(facts.get("class_name", "")), set()).add(folder)
    known = [found for name, found in folders.items() if name]
    # A nested model's layers come after the outer ones, wherever the model stands.
    return "class" if known and all(len(found) == 1 for found in known) else "none"


def _chosen(checkpoint: Checkpoint, group: str | None) -> str:
    """The dictionary with the model's state."""
    if group is not None and group in checkpoint.groups:
        return group
    if checkpoint.format not in (*NESTED, "memory"):
        return ""
    nested = [g for g in checkpoint.groups if g and g.split("/")[0] not in OTHERS]
    for name in STATE_DICTS:
        if name in nested:
            return name
    # A trainer's epoch may be an array too, so scalars beside dictionaries make no state.
    if any("/" not in name and entry.shape for name, entry in checkpoint.items()):
        return ""
    plausible = [g for g in nested if "optim" not in g]
    if group is None and plausible and all(re.match(r"state/\d+$", g) for g in plausible):
        raise CheckpointError(
            f"{checkpoint.path or 'the mapping'}: is an optimizer's state, which belongs to one "
            "framework; give the model's, `model.state_dict()`"
        )
    if len(plausible) == 1:
        return plausible[0]
    if not plausible or group is not None:
        return ""
    raise CheckpointError(
        f"{checkpoint.path or 'the mapping'}: has several dictionaries of arrays, "
        f"{', '.join(plausible[:8])}; "
        "say which is the model's (--group)"
    )


def _below(
    entries: Mapping[str, Entry], prefix: str, checkpoint: Checkpoint
) -> tuple[dict[str, Entry], dict[str, int]]:
    """The entries whose names begin with a prefix, without it; how many others have, by owner."""
    kept: dict[str, Entry] = {}
    left: dict[str, int] = {}
    for name, entry in entries.items():
        rest = name.removeprefix(prefix)
        if rest != name and rest[:1] in (".", "/"):
            kept[rest[1:]] = entry.renamed(rest[1:])
        else:
            owner = re.split("[./]", name)[0]
            left[owner] = left.get(owner, 0) + 1
    if not kept:
        raise CheckpointError(
            f"{checkpoint.path or 'the mapping'}: has neither a dictionary {prefix!r} nor names "
            f"that begin so; it has {', '.join(repr(n) for n in [*checkpoint.groups, *left][1:9])}"
        )
    return kept, left


def _averaged(entries: dict[str, Entry], owner: str) -> tuple[dict[str, Entry], str]:
    """The model with an average's values, if that is what was asked for; else the prefix again."""
    copies = {n: of for n, (who, of) in averages(entries).items() if who == owner}
    if not copies:
        return entries, owner
    values = {of: entries[n].renamed(of) for n, of in copies.items() if of}
    return {n: values.get(n, e) for n, e in entries.items() if n not in copies}, ""


def _unwrapped(
    entries: dict[str, Entry],
    part: Checkpoint,
    room: ModuleType,
    outer: Collection[str],
    keep: Collection[str],
    aside: Aside,
) -> tuple[dict[str, Entry], dict[str, Any], Wrapping]:
    """The entries and what is known of layers, under names without wrappers' words.

    A single number at the top says nothing about wrappers; beside a wrapped model it is no part
    of it.
    """
    layers = dict(part.metadata.get("layers", {}))
    if not room.WRAPPERS and not outer:
        return entries, layers, Wrapping()
    if part.holds_modules:
        outer = ()  # an object's own attributes
    lone = [n for n, e in entries.items() if "." not in n and all(s == 1 for s in e.shape)]
    found = wrapping([n for n in entries if n not in lone], room.WRAPPERS, outer)
    if found.prefix:
        aside.counters += [n for n in lone if n not in keep]
        entries = {n: e for n, e in entries.items() if n in keep or n not in lone}
    short = {found.bare(n): e for n, e in entries.items()}
    return (
        {n: e.renamed(n) for n, e in short.items()},
        {found.bare(n): facts for n, facts in layers.items()},
        found,
    )


def _bare(steps: Sequence[Step], wrapped: Wrapping) -> tuple[Step, ...]:
    """Steps under the names of their layers without wrappers' words."""
    if not wrapped.inserted:
        return tuple(steps)
    return tuple(
        dataclasses.replace(step, layer=wrapped.bare(f"{step.layer}.")[:-1]) if step.layer else step
        for step in steps
    )


def _without_slots(
    entries: dict[str, Entry], room: ModuleType, sep: str
) -> tuple[dict[str, Entry], dict[str, int]]:
    """The entries without an optimizer's: copies of a parameter under its name with a prefix.

    A nested model, or an average's copy, may hold layers of the same names; those are no slots.
    """
    kept: dict[str, Entry] = {}
    left: dict[str, int] = {}
    for name, entry in entries.items():
        owner, _, rest = name.partition(sep)
        copy = owner in room.SLOTS and rest in entries and entries[rest].shape == entry.shape
        if copy or (sep == "/" and owner in room.OPTIMIZER):
            left[owner] = left.get(owner, 0) + 1
        else:
            kept[name] = entry
    return kept, left
