"""What becomes of one layer's arrays: carried, made, kept in the metadata, or left without a place.

`LayerPlanner` decides layer by layer, by rule or by a template's layer, and writes each decision
into the `ledger`. Not here: which layers belong together, and the whole (`plan`).
"""

from __future__ import annotations

import dataclasses

from batchnorm.checkpoints import Entry
from batchnorm.convert import flatten as flattened
from batchnorm.convert.biases import Moves
from batchnorm.convert.groups import CHANNELS_LAST, Group, counted
from batchnorm.convert.layout import canonical, step
from batchnorm.convert.ledger import NEUTRAL, Ledger, is_neutral
from batchnorm.convert.mapping import LayerPair, Map
from batchnorm.convert.match import Pairing
from batchnorm.convert.names import array_name, path_in, roles_in
from batchnorm.convert.report import Status
from batchnorm.convert.rooms import saved
from batchnorm.convert.scales import Scales
from batchnorm.convert.source import Source
from batchnorm.convert.unclear_layers import scales_nothing, unclear

__all__ = ["LayerPlanner"]

TRAINING = ("stddev", "renorm_mean", "renorm_stddev")  # roles that inference doesn't use


class LayerPlanner:
    """Plans the layers of one conversion.

    Attributes:
        ledger: where decisions are written.
        paths: source layer -> target layer.
        biases: those that go into the mean of the batch norm after them.
        scales: those that go into the kernel before their batch norm.
        sent: array of the target -> the source's that the map sends there.
        arrived: names of the source's arrays that the map sent and that have their place.
        heard: layers whose kind in the map settled something.
    """

    def __init__(self, source: Source, framework: str, map: Map, ledger: Ledger) -> None:
        self.source, self.framework, self.map, self.ledger = source, framework, map, ledger
        self.room = saved(framework)
        self.back, self.returning = ledger.back, ledger.returning
        self.paths: dict[str, str] = {}
        self.biases, self.scales = Moves(), Scales()
        self.sent = {new: old for old, new in map.arrays.items() if new}
        self.arrived: set[str] = set()
        self.heard = {g.path for g in source.groups if g.kind == "kernel"}
        self._owners = {e.name: (g, r) for g in source.groups for r, e in g.members.items()}
        self.crosses = (source.framework in CHANNELS_LAST) != (framework in CHANNELS_LAST)

    def by_rule(self, group: Group) -> None:
        """Plan a layer whose target has the name that the rules give."""
        said = self.map.of(group.path)
        if said.to == "":
            self.reject(group, "left out", "the map leaves it out")
            return
        known = self.back.paths.get(group.path) if self.returning else None
        path = said.to or (path_in(group, self.framework) if known is None else known)
        self._pass(group, path)
        doubt = group.doubt
        if not (said.to or known is not None or self.source.framework == self.framework):
            doubt = doubt or unclear(group, self.framework)
        if said.kind and doubt != group.doubt:
            self.heard.add(group.path)
            doubt = group.doubt
        status: Status = "ambiguous" if doubt else "carried"
        if group.kind == "batch_norm":
            self._batch_norm_by_rule(group, path, status, doubt)
            return
        own_name = status == "ambiguous" and group.kind == "affine" and bool(self.room.INNER)
        for role, entry in group.members.items():
            name = self.map.arrays.get(entry.name)
            if name == "":
                self.ledger.row(group, entry, None, None, "left out", "the map leaves it out")
                continue
            if name is None and own_name:  # what it is can't be told, so its name stays
                name = f"{path}.{entry.name.rpartition('.')[2]}" if path else entry.name
            name = name or array_name(group, role, self.framework, path=path) or path
            if self.framework in CHANNELS_LAST and "/" not in name:
                why = "Keras has no place for it by rule"
                self.ledger.row(group, entry, None, None, "unused", why)
                continue
            self._carry(group, role, name, None, said, status, doubt)

    def by_template(self, pairing: Pairing) -> None:
        """Plan a layer whose place in the template is known."""
        group, target = pairing.source, pairing.target
        said = self.map.of(group.path)
        self._pass(group, target.path)
        lesser = self.biases.means.get(group.path) if group.kind == "batch_norm" else None
        if lesser is not None:
            group = group.replaced(running_mean=lesser)
        group = self.scales.groups.get(group.path, group)
        for role, place in target.members.items():
            own = group.members.get(role)
            out = own is not None and self.map.arrays.get(own.name) == ""
            if place.name in self.sent:
                self._send(place, role, target)
            elif own is not None and not out:
                doubt = group.doubt if pairing.why != "map" else ""
                status: Status = "ambiguous" if doubt else "carried"
                if lesser is not None and role == "running_mean" and not doubt:
                    doubt = f"less the bias of {self.biases.of[group.path]}"
                self._carry(group, role, place.name, target, said, status, doubt)
            elif role in NEUTRAL or role == "count":
                self.ledger.make(group, role, place.name, place.shape, str(place.dtype))
            elif not self.ledger.put_back(group, role, place.name, place.shape):
                why = "the map leaves its array out" if out else f"the source has no {role}"
                self.ledger.missing(group, place, why)
        for role, entry in group.members.items():
            if entry.name in self.map.arrays:
                self._left_out(group, entry)
            elif role not in target.members:
                self._without_place(group, role, entry)
            elif target.members[role].name in self.sent:
                why = "the map sends another array to its place"
                self.ledger.row(group, entry, None, None, "unused", why)

    def reject(self, group: Group, status: Status, why: str) -> None:
        """Put a whole layer of the source into the report as having no place."""
        for entry in group.members.values():
            if entry.name in self.map.arrays:
                self._left_out(group, entry)
            else:
                self.ledger.row(group, entry, None, None, status, why)

    def keep(self, group: Group) -> None:
        """The template's own scaling of its input, which is no weight, stays as it is."""
        if not scales_nothing(group):
            self.ledger.report.doubts.append(
                f"{group.label} scales the target's input by the template's own mean and variance, "
                "which the source doesn't: give the target inputs that nothing has scaled yet, and "
                "accept it with --allow-missing"
            )
        for role, place in group.members.items():
            if place.name in self.sent:
                self._send(place, role, group)
            else:
                self.ledger.made(group, place, "the template's own: it scales the input")

    def missing(self, group: Group, why: str) -> None:
        """Put a layer of the template into the report as having got nothing."""
        for role, place in group.members.items():
            if place.name in self.sent:
                self._send(place, role, group)
            else:
                self.ledger.missing(group, place, why)

    def _left_out(self, group: Group, entry: Entry) -> None:
        """A row for an array that the map leaves out; one that it sends has its row there."""
        if self.map.arrays[entry.name] == "":
            self.ledger.row(group, entry, None, None, "left out", "the map leaves it out")

    def _send(self, place: Entry, role: str, target: Group) -> None:
        """One array that the map sends to one place, laid out as the target's layer has it."""
        name = self.sent[place.name]
        group, its = self._owners[name]
        entry = group.members[its]
        if (group.kind == "kernel") != (target.kind == "kernel") or (its, role) == ("bias", "bias"):
            group, its = dataclasses.replace(group, kind="single", members={role: entry}), role
        flatten = self.map.of(group.path).flatten if its == "weight" else ()
        found = step(
            group, its, self.framework, form=target.form, shape=place.shape, flatten=flatten
        )
        self.arrived.add(name)
        self.ledger.add(group, entry, place.name, found, "carried", "map")

    def _pass(self, group: Group, path: str) -> None:
        self.paths[group.path] = path
        record = self.ledger.record
        record.paths[path] = group.path
        if group.path in self.back.tracked and "count" not in group.members:
            record.tracked[path] = self.back.tracked[group.path]
        if group.path in self.back.kept and not self.returning:
            record.kept[path] = self.back.kept[group.path]

    def _batch_norm_by_rule(self, group: Group, path: str, status: Status, doubt: str) -> None:
        inner = ""
        if self.room.INNER:
            inner, guess = self._inner(group)
            status, doubt = ("ambiguous", guess) if guess else (status, doubt)
        mean = group.members["running_mean"]
        one_missing = ("gamma" in group.members) != ("beta" in group.members)
        for role in roles_in(self.framework):
            name = array_name(group, role, self.framework, path=path, inner=inner)
            if name is None:
                continue
            if role in group.members and group.members[role].name in self.map.arrays:
                name = self.map.arrays[group.members[role].name]
                if not name:
                    self._left_out(group, group.members[role])
                    continue
            if role in group.members:
                self._carry(group, role, name, None, LayerPair(), status, doubt)
            elif self.ledger.kept_before(group, role):
                self.ledger.put_back(group, role, name)
            elif role == "count":
                if not self._had_none(group):
                    self.ledger.make(group, role, name, (), "int64")
            elif role in self.back.dropped.get(group.path, {}) and self.returning:
                kind = self.back.dropped[group.path][role]
                self.ledger.make(group, role, name, mean.shape, kind)
            elif role in NEUTRAL and (role in self.room.KEPT or (one_missing and self.room.PAIRED)):
                self.ledger.make(group, role, name, mean.shape, str(mean.dtype))
        for role, entry in group.members.items():
            if array_name(group, role, self.framework, path=path) is None:
                self._without_place(group, role, entry)

    def _inner(self, group: Group) -> tuple[str, str]:
        """The inner layer of MindSpore's BatchNorm3d, and what is unclear about it."""
        said = self.map.of(group.path).kind
        if said in ("batch_norm", "batch_norm_3d"):
            self.heard.add(group.path)
            return (self.room.INNER if said == "batch_norm_3d" else ""), ""
        if group.inner:
            return self.room.INNER, ""
        groups = self.source.groups
        kernels = [g for g in groups if g.kind == "kernel"]
        if not any(len(canonical(g, "weight")) == 5 for g in kernels):
            return "", ""
        index = next(i for i, g in enumerate(groups) if g is group)
        before = [g for g in groups[:index] if g.kind == "kernel"]
        if self.source.ordered and before and len(canonical(before[-1], "weight")) == 5:
            return self.room.INNER, ""
        return "", (
            "the model has three-dimensional convolutions; if this is a BatchNorm3d, say "
            'kind = "batch_norm_3d" in the map, else kind = "batch_norm"'
        )

    def _had_none(self, group: Group) -> bool:
        """Whether this came from a file without `num_batches_tracked`, to which it goes back."""
        return (
            self.returning and group.path in self.back.paths and group.path not in self.back.tracked
        )

    def _carry(
        self,
        group: Group,
        role: str,
        name: str,
        target: Group | None,
        said: LayerPair,
        status: Status,
        what: str,
    ) -> None:
        entry = group.members[role]
        shape = target.members[role].shape if target is not None else None
        recorded = self.back.names.get(entry.name) if self.returning else None
        if recorded is not None and target is None:
            name = recorded[0]
        known = recorded is not None and recorded[1] is not None and recorded[1].shape == shape
        if recorded is not None and recorded[1] is not None and (known or target is None):
            self.ledger.add(group, entry, name, recorded[1], status, what)
            return
        if self.returning and entry.name in self.back.made and is_neutral(role, entry):
            why = "made on the way here, and unchanged"
            self.ledger.row(group, entry, None, None, "left out", why)
            return
        form = target.form if target is not None else said.kind
        trap = None
        if self.crosses and role == "weight" and not said.flatten:
            trap = flattened.channels_before(self.source.groups, group, ordered=self.source.ordered)
        if trap is not None and recorded is None and form != "embedding":
            rows = canonical(group, role)[1]
            status, what = "ambiguous", flattened.advice(trap, rows)
        elif self.crosses and role == "weight" and recorded is None and self.source.ordered:
            reshaped = flattened.channels_after(self.source.groups, group)
            if reshaped is not None and form != "embedding":
                units, to_keras = canonical(group, role)[0], self.framework in CHANNELS_LAST
                status = "ambiguous"
                what = flattened.reshape_advice(reshaped, units, to_keras=to_keras)
        flatten = said.flatten if role == "weight" else ()
        found = step(group, role, self.framework, form=form, shape=shape, flatten=flatten)
        self.ledger.add(group, entry, name, found, status, what)

    def _without_place(self, group: Group, role: str, entry: Entry) -> None:
        """An array that the target's layer doesn't have."""
        ledger, path = self.ledger, self.paths[group.path]
        made = self.returning and entry.name in self.back.made
        tracked = counted(entry) if role == "count" else None
        if made and (tracked == 0 or is_neutral(role, entry)):
            ledger.row(group, entry, None, None, "left out", "made on the way here")
        elif tracked is not None:
            ledger.record.tracked[path] = tracked
            ledger.row(group, entry, None, None, "kept", f"{tracked} batches")
        elif role == "count":
            what = f"{entry.load().item()} is no number of batches"
            ledger.row(group, entry, None, None, "left out", what)
        elif role in TRAINING:
            ledger.keep(group, role, entry, path)
        elif is_neutral(role, entry):
            ledger.record.dropped.setdefault(path, {})[role] = str(entry.dtype)
            what = f"is {NEUTRAL[role]} everywhere, as without it"
            ledger.row(group, entry, None, None, "left out", what)
        elif role == "gamma" and group.path in self.scales.into:
            what = f"multiplied into {self.scales.into[group.path]}, which comes before"
            ledger.row(group, entry, None, None, "folded", what)
        elif role == "bias" and group.path in self.biases.into:
            what = f"taken off the running mean of {self.biases.into[group.path]}, which follows"
            ledger.row(group, entry, None, None, "folded", what)
        else:
            why = "the target's layer has no place for it, and it changes the result"
            if role == "bias":
                why += (
                    "; where a batch norm follows, its running mean less the bias does the same: "
                    "say which under [fold] in the map"
                )
            ledger.row(group, entry, None, None, "unused", why)
