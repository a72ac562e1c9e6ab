"""From a source and a target's framework (or template) to the target's entries: `plan`.

Groups are matched (`match`) or named by rule (`names`), every array gets one step (`layout`), and
every decision becomes a row of the report and, where the way back needs it, of the record. Nothing
is loaded here but single numbers and what must be compared with 1 or 0.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from batchnorm.checkpoints import Entry
from batchnorm.checkpoints.checkpoint import Extra
from batchnorm.convert.biases import moved
from batchnorm.convert.counterparts import without_counterpart, without_place
from batchnorm.convert.fold_pairs import followed
from batchnorm.convert.frameworks import is_framework
from batchnorm.convert.groups import CHANNELS_LAST, Group, incomplete
from batchnorm.convert.layer_plan import LayerPlanner
from batchnorm.convert.ledger import Ledger
from batchnorm.convert.mapping import Map
from batchnorm.convert.match import Match, match
from batchnorm.convert.names import keras_class, named_twice
from batchnorm.convert.notes import general_notes
from batchnorm.convert.record import Record
from batchnorm.convert.report import Report, Row
from batchnorm.convert.rooms import saved
from batchnorm.convert.scales import multiplied
from batchnorm.convert.settings import Settings, known_settings
from batchnorm.convert.source import Source
from batchnorm.convert.structure import graph_of, layer_of
from batchnorm.convert.tied_weights import twin
from batchnorm.convert.unclear_layers import leftover, scales_nothing
from batchnorm.convert.wrappers import Wrapping
from batchnorm.errors import CheckpointError
from batchnorm.graph import Graph
from batchnorm.graph.attributes import differences
from batchnorm.vocabulary import as_dtype

__all__ = ["Plan", "plan"]


@dataclass
class Plan:
    """What is to be written, and the report on it.

    Attributes:
        wrapping: what `wrap` has to put into the names of the target.
        open_ends: layers of the source and of the template without counterpart.
    """

    entries: list[Entry]
    report: Report
    extras: dict[str, Extra]
    metadata: dict[str, Any]
    pairs: list[tuple[Group, Group | None]] = field(default_factory=list)
    wrapping: Wrapping = field(default_factory=Wrapping)
    open_ends: tuple[list[Group], list[Group]] = ([], [])

    def wrap(self) -> None:
        """Put wrappers' words, such as `module.`, into the names of the target."""
        put = self.wrapping.put
        if not self.wrapping.inserted:
            return
        prefix = self.wrapping.prefix
        words = f"the prefix {prefix!r} before every name" if prefix else "wrappers' words back"
        self.report.notes.append(f"put {words}")
        self.entries = [entry.renamed(put(entry.name)) for entry in self.entries]
        self.report.rows = [
            row if row.target is None else dataclasses.replace(row, target=put(row.target))
            for row in self.report.rows
        ]


def plan(
    source: Source,
    framework: str,
    *,
    template: Source | None = None,
    map: Map | None = None,
    said: Mapping[str, Settings] | None = None,
    folded: Mapping[str, Any] | None = None,
    rows: list[Row] | None = None,
) -> Plan:
    """Decide what every array becomes.

    Args:
        source: the checkpoint to convert; folded or unfolded already, if that is wanted.
        framework: the target's.
        template: a checkpoint of the target model.
        map: the user's pairs.
        said: the user's settings.
        folded: what a fold left out, for the record.
        rows: the report's rows on that.
    """
    map = map or Map()
    back = Record.of(source.ours)
    returning = back.framework == source.framework and back.source == framework
    record = Record(framework, source.framework, source.checkpoint.format)
    record.origin = back.origin if is_framework(back.origin) else source.framework
    record.folded = dict(folded or {})
    if not source.group:
        record.wrapping = source.wrapping
    report = Report(source.name, None, (source.framework, framework), list(rows or ()))
    ledger = Ledger(back, returning, record, report)
    planner = LayerPlanner(source, framework, map, ledger)
    pairs: list[tuple[Group, Group | None]]
    open_ends: tuple[list[Group], list[Group]] = ([], [])
    if template is not None:
        graphs = graph_of(source), graph_of(template)
        found = _matched(source, template, framework, map, back if returning else None, graphs)
        known = [(p.source, p.target) for p in found.pairs]
        report.doubts += _unlike(known, graphs)
        pairs = [*known]
        mine, theirs = _followed(source, map), followed(template)
        planner.biases = moved(known, mine, theirs)
        if graphs[1].wired:
            planner.scales = multiplied(known, mine, theirs, planner.biases)
        for pairing in found.pairs:
            planner.by_template(pairing)
        _unmatched(planner, found)
        _no_effect(map, planner, template, folded=bool(folded))
        open_ends = (found.source, found.target)
        entries = _in_order(ledger.entries, template)
    else:
        if framework == source.framework and not map.layers and not map.arrays:
            entries = _copied(source, planner)
            record = ledger.record = _onward(back, source)
        else:
            for group in source.groups:
                planner.by_rule(group)
            entries = ledger.entries
        pairs = [(group, None) for group in source.groups]
    for group in source.groups:
        if group.kind == "batch_norm" and group.path in planner.paths:
            settings = known_settings(group, source.ours, said or {})
            path = planner.paths[group.path]
            if settings.as_json():
                record.settings[path] = settings.as_json()
                report.settings[path] = settings.words(framework)
    report.problems += named_twice(entries)
    report.problems += [source.shard] if source.shard else []
    report.problems += incomplete(source.groups)
    report.problems += _no_batch_norms(source, framework, template, map, pairs)
    _idle_kinds(map, planner, source)
    report.notes += general_notes(source, framework, template, report, record)
    extras = dict(source.extras)
    entries += _scalars(framework, source, back, extras, record)
    metadata = _metadata(source, framework, template, back, returning, record, planner)
    wrapping = _wrapping(template, back, returning)
    return Plan(entries, report, extras, metadata, pairs, wrapping, open_ends)


def _followed(source: Source, map: Map) -> list[tuple[Group, Group]]:
    """Layers with the batch norm after them; the map's [fold] says it first."""
    groups = {g.path: g for g in source.groups}
    said = [
        (groups[a], groups[b])
        for a, b in map.fold.items()
        if {a, b} <= set(groups)  # what was folded is gone
        and groups[a].kind == "kernel"
        and groups[b].kind == "batch_norm"
    ]
    named = {id(a) for a, _ in said}
    return [*said, *(pair for pair in followed(source) if id(pair[0]) not in named)]


def _wrapping(template: Source | None, back: Record, returning: bool) -> Wrapping:
    """The words in the target's names: the template's, or what was taken out before."""
    if template is not None:
        return template.wrapping
    return back.wrapping if returning else Wrapping()


def _matched(
    source: Source,
    template: Source,
    framework: str,
    map: Map,
    back: Record | None,
    graphs: tuple[Graph, Graph],
) -> Match:
    return match(
        source.groups,
        template.groups,
        map,
        framework=framework,
        orders=(source.order, template.order),
        recorded=back.paths if back is not None else None,
        graphs=graphs,
    )


def _unlike(known: list[tuple[Group, Group]], graphs: tuple[Graph, Graph]) -> list[str]:
    """One sentence on layers that belong together and compute otherwise, as both sides say."""
    if not all(graph.wired for graph in graphs):
        return []
    found = differences(*graphs, [(layer_of(a), layer_of(b)) for a, b in known])
    if not found:
        return []
    some = "; ".join(f"{a} → {b}: {how}" for a, b, how in found[:3])
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return [
        f"the two models differ in what no array holds, so they compute otherwise: {some}{more}; "
        "make the target's layers alike"
    ]


def _unmatched(planner: LayerPlanner, found: Match) -> None:
    report = planner.ledger.report
    report.problems += found.problems
    report.doubts += found.doubts
    report.notes += found.notes
    by_order = [p for p in found.pairs if p.why in ("place", "evidence", "order", "shape")]
    if by_order:
        first = f"{by_order[0].source.label} is {by_order[0].target.label}"
        report.notes.append(
            f"{len(by_order)} layers whose names differ were matched by the place, order and shape "
            f"of all layers ({first}, …): look through the table"
        )
    for group in found.left_out:
        planner.reject(group, "left out", "the map leaves it out")
    carried = [pair.source for pair in found.pairs]
    unused = []
    for group in found.source:
        if group.kind == "scaling" and scales_nothing(group):
            planner.reject(group, "left out", "mean 0 and variance 1, as without it")
            continue
        other = twin(group, carried)
        if other is not None:
            planner.reject(group, "left out", f"tied to {other.label}, which has the same values")
        else:
            why = leftover(group) or without_counterpart(group, found.target, "template")
            planner.reject(group, "unused", why)
            unused.append(group)
    if not found.target:
        report.problems += without_place(unused, planner.source.groups)
    for group in found.target:
        if group.kind == "scaling":
            planner.keep(group)
            continue
        planner.missing(group, without_counterpart(group, found.source, "source"))


def _no_effect(map: Map, planner: LayerPlanner, template: Source, *, folded: bool) -> None:
    """Lines of the map that did nothing are mistakes.

    Raises:
        CheckpointError: there is one; says which.
    """
    lost = {new: old for new, old in planner.sent.items() if old not in planner.arrived}
    if lost:
        new, old = next(iter(lost.items()))
        near = difflib.get_close_matches(new, list(template.checkpoint), 3)
        near = near or list(template.checkpoint)[:3]
        raise CheckpointError(
            f"the map's [arrays] {old!r} = {new!r} has no effect: {template.name} has no array of "
            f"that name; near it are {', '.join(repr(n) for n in near)}"
        )
    if folded:
        return
    idle = [line for line in map.fold.items() if planner.biases.into.get(line[0]) != line[1]]
    if idle:
        raise CheckpointError(
            f"the map's [fold] {idle[0][0]!r} = {idle[0][1]!r} has no effect: say --fold to fold "
            "(without it, the line only says into which batch norm's mean a bias goes that the "
            "target has no place for)"
        )


def _idle_kinds(map: Map, planner: LayerPlanner, source: Source) -> None:
    """Kinds of the map that settled nothing are mistakes; `norm` of a batch norm says it is none.

    Raises:
        CheckpointError: there is one; says which.
    """
    norms = {group.path for group in source.groups if group.kind == "batch_norm"}
    for path, said in map.layers.items():
        if said.kind and path not in planner.heard and not (said.kind == "norm" and path in norms):
            raise CheckpointError(
                f"the map's kind = {said.kind!r} for {path!r} has no effect: nothing was unclear "
                "about the layer; leave it out"
            )


def _no_batch_norms(
    source: Source,
    framework: str,
    template: Source | None,
    map: Map,
    pairs: list[tuple[Group, Group | None]],
) -> list[str]:
    """Problems: layers with a batch norm's arrays of which something says that they are none."""
    countless = saved(source.framework).COUNTLESS
    there = saved(framework).COUNTLESS
    found = []
    for group, other in pairs:
        if group.kind != "batch_norm" or map.of(group.path).to == "":
            continue
        kind = map.of(group.path).kind
        mine = kind == "norm" or group.own_class in countless
        theirs = other is not None and other.own_class in there
        settled = template is not None and (other is None or not other.own_class)
        if framework == source.framework and (settled or template is None) and kind != "norm":
            continue
        if mine != theirs and (mine or group.own_class):
            is_it = "the map says" if kind == "norm" else "its class says"
            what = "no batch norm" if mine else "a batch norm, and the template's layer is none"
            found.append(
                f"{group.label}: {is_it} that it is {what}: InstanceNorm with tracked statistics "
                "has the same arrays and computes something else; leave it out "
                f'("{group.path}" = "" in the map), or give the layer that it is'
            )
    return found


def _in_order(entries: list[Entry], template: Source) -> list[Entry]:
    order = {name: index for index, name in enumerate(template.checkpoint)}
    return sorted(entries, key=lambda entry: order.get(entry.name, len(order)))


def _copied(source: Source, planner: LayerPlanner) -> list[Entry]:
    """The same framework's names again: another container, nothing else."""
    entries = []
    of = {id(e): g.path for g in source.groups for e in g.members.values()}
    for name, entry in source.checkpoint.items():
        entries.append(entry)
        layer = of.get(id(entry), name)
        row = Row(layer, name, name, entry.shape, entry.shape, "carried")
        planner.ledger.report.rows.append(row)
    planner.paths = {g.path: g.path for g in source.groups}
    return entries


def _onward(back: Record, source: Source) -> Record:
    """A copied file keeps what an earlier conversion wrote, and where it came from."""
    if not back.source:
        back.framework = source.framework
        back.source, back.source_format = source.framework, source.checkpoint.format
        back.origin = source.framework
    return back


def _scalars(
    framework: str, source: Source, back: Record, extras: dict[str, Extra], record: Record
) -> list[Entry]:
    """MindSpore's scalars, in the type that they had; elsewhere they are plain extras."""
    known = {**back.scalars, **source.scalars}
    if not saved(framework).SCALARS:
        record.scalars = {name: kind for name, kind in known.items() if name in extras}
        return []
    entries = []
    for name in [n for n in known if n in extras]:
        try:
            entries.append(Entry.of(name, np.asarray(extras[name], as_dtype(known[name]))))
        except (TypeError, ValueError, OverflowError):
            continue  # a record that doesn't fit its value: the plain extra stays
        del extras[name]
    return entries


def _metadata(
    source: Source,
    framework: str,
    template: Source | None,
    back: Record,
    returning: bool,
    record: Record,
    planner: LayerPlanner,
) -> dict[str, Any]:
    given = source.checkpoint.metadata
    if framework == source.framework and template is None:
        own = {"batchnorm": record.as_json()}
        return {**given, **own}
    record.layers = {n: f for n, f in given.get("layers", {}).items() if isinstance(f, dict)}
    metadata: dict[str, Any] = {"batchnorm": record.as_json()}
    if template is None and returning and back.layers:
        metadata["layers"] = back.layers
    elif template is None and framework in CHANNELS_LAST:
        metadata["layers"] = {
            path.removesuffix(f"/{group.part}" if group.part else ""): {
                "class_name": keras_class(group)
            }
            for group in source.groups
            if (path := planner.paths.get(group.path)) is not None and keras_class(group)
        }
    return metadata
