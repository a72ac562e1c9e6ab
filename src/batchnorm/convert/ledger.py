"""`Ledger`: what a conversion has decided so far, in one place.

Each decision becomes a row of the report; if an array comes of it, an entry of the target; and what
the way back needs, a part of the record. Not here: the decisions (`layer_plan`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from batchnorm.checkpoints import Entry
from batchnorm.convert.groups import Group
from batchnorm.convert.layout import Step
from batchnorm.convert.packed import packed, unpacked
from batchnorm.convert.record import Record
from batchnorm.convert.report import Report, Row, Status
from batchnorm.vocabulary import as_dtype

__all__ = ["NEUTRAL", "Ledger", "is_neutral"]

NEUTRAL: Mapping[str, int] = {"gamma": 1, "beta": 0, "bias": 0}


def is_neutral(role: str, entry: Entry) -> bool:
    """Whether a gamma is 1, a beta or bias 0 throughout: a layer without it does the same."""
    if role not in NEUTRAL:
        return False
    return all(bool((piece == NEUTRAL[role]).all()) for piece in entry.chunks())


@dataclass
class Ledger:
    """What is decided.

    Attributes:
        back: the source's own record.
        returning: whether the target is where the source came from.
        record, report: what is written for the way back, and for the reader.
        entries: the target's, in the order in which they were decided.
    """

    back: Record
    returning: bool
    record: Record
    report: Report
    entries: list[Entry] = field(default_factory=list)

    def row(
        self,
        group: Group,
        entry: Entry,
        target: str | None,
        shape: tuple[int, ...] | None,
        status: Status,
        what: str,
    ) -> None:
        """What became of an array of the source."""
        name = entry.name
        self.report.rows.append(Row(group.label, name, target, entry.shape, shape, status, what))

    def add(
        self, group: Group, entry: Entry, name: str, step: Step, status: Status, what: str
    ) -> None:
        """An array of the source goes into the target."""
        self.entries.append(step.apply(entry, name))
        back = None if step.trivial else step.inverse(entry.shape)
        self.record.names[name] = (entry.name, back)
        text = "; ".join(part for part in (step.what, what) if part)
        self.row(group, entry, name, step.shape, status, text)

    def missing(self, group: Group, place: Entry, why: str) -> None:
        """The target expects an array that nobody has."""
        row = Row(group.label, None, place.name, place.shape, place.shape, "missing", why)
        self.report.rows.append(row)

    def make(self, group: Group, role: str, name: str, shape: tuple[int, ...], dtype: str) -> None:
        """An array that the target has and the source doesn't need: 1, 0, or the stored counter."""
        value, what = NEUTRAL.get(role, 0), f"{role} = {NEUTRAL.get(role, 0)}"
        if role == "count":
            tracked = self.back.tracked.get(group.path)
            value, what = (0, "0 batches") if tracked is None else (tracked, "the stored counter")
        try:
            kind = as_dtype(dtype)
        except TypeError:
            kind = next(iter(group.members.values())).dtype
        self.made(group, Entry.of(name, np.full(shape, value, kind)), what)
        self.record.made.append(name)

    def keep(self, group: Group, role: str, entry: Entry, path: str) -> None:
        """An array without a place that inference doesn't need: into the metadata."""
        self.record.kept.setdefault(path, {})[role] = packed(entry)
        what = f"{role}, which only training uses"
        self.row(group, entry, None, None, "kept", what)

    def kept_before(self, group: Group, role: str) -> bool:
        """Whether an earlier conversion kept this array of the layer."""
        return role in self.back.kept.get(group.path, {})

    def put_back(
        self, group: Group, role: str, name: str, shape: tuple[int, ...] | None = None
    ) -> bool:
        """Give the target what an earlier conversion kept; False if that isn't possible."""
        try:
            values = unpacked(self.back.kept[group.path][role])
        except (KeyError, ValueError):
            return False
        if shape is not None and values.shape != shape:
            return False
        self.made(group, Entry.of(name, values), "put back from the metadata")
        return True

    def made(self, group: Group, entry: Entry, what: str) -> None:
        """An array that the source doesn't have goes into the target."""
        self.entries.append(entry)
        shape = entry.shape
        row = Row(group.label, None, entry.name, shape, shape, "filled", what)
        self.report.rows.append(row)
