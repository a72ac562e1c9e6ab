"""`convert --fold` and `--unfold`: batch norms into the layers before them, and the record of it.

Which layers belong together is decided in `fold_pairs`. The record keeps the folded layers'
statistics, so that `--unfold` gives them back bit for bit, and the kernels up to rounding.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from batchnorm.checkpoints import Checkpoint, Entry
from batchnorm.convert.fold import Statistics, fold, make_statistics, output_axes, unfold
from batchnorm.convert.fold_pairs import fold_pairs
from batchnorm.convert.groups import counted, grouped, separator
from batchnorm.convert.mapping import Map
from batchnorm.convert.names import array_name
from batchnorm.convert.packed import packed, unpacked
from batchnorm.convert.report import Row
from batchnorm.convert.rooms import saved
from batchnorm.convert.scaled_kernels import layout_of, scaled
from batchnorm.convert.settings import Settings, defaults, known_settings
from batchnorm.convert.source import Source
from batchnorm.errors import CheckpointError
from batchnorm.frameworks import find
from batchnorm.vocabulary import Array

__all__ = ["fold_source", "unfold_source"]


def fold_source(
    source: Source, map: Map, said: Mapping[str, Settings]
) -> tuple[Source, dict[str, Any], list[Row], list[str]]:
    """The source with its batch norms folded, the record by layer, the report's rows and notes.

    Raises:
        CheckpointError: no layer can be folded, or the map names layers that don't fit.
    """
    found = fold_pairs(source, map)
    if not found.pairs:
        why = "; ".join(found.notes()[:3]) or "it has no batch norm"
        raise CheckpointError(
            f"{source.name}: no batch norm directly follows a layer of its width as far as can be "
            f"told, so there is nothing to fold: {why}; name the pairs under [fold] in the map"
        )
    entries = dict(source.checkpoint.entries)
    record: dict[str, Any] = {}
    rows: list[Row] = []
    for pair in found.pairs:
        conv, norm, groups = pair.layer, pair.norm, pair.groups
        settings = known_settings(norm, source.ours, said)
        assumed = settings.epsilon is None
        epsilon = defaults(source.framework).epsilon if assumed else settings.epsilon
        assert epsilon is not None
        state = {role: entry.load() for role, entry in norm.members.items()}
        statistics = make_statistics(state, epsilon, norm.label)
        sep = separator(source.framework)
        bias_name = f"{conv.path}{sep}bias" if conv.path else "bias"
        weight, bias = conv.members["weight"], conv.members.get("bias")
        layout = layout_of(conv, norm)
        new = {weight.name: scaled(weight, statistics.scale, layout, groups)}
        summed = _bias(weight, bias, statistics, layout, back=False)
        made = Entry.of(bias_name if bias is None else bias.name, summed)
        entries = _replaced(entries, new, weight.name, made)
        for entry in norm.members.values():
            del entries[entry.name]
        record[conv.path] = {
            "layer": norm.path,
            "epsilon": epsilon,
            "bias": bias is not None,
            "layout": layout,
            **({"groups": groups} if groups > 1 else {}),
            "framework": source.framework,
            "arrays": {n.name: packed(n) for n in norm.members.values()},
            **({"settings": settings.as_json()} if settings.as_json() else {}),
        }
        text = f"into {conv.label}, epsilon {epsilon:g}"
        text += f" ({source.framework}'s default)" if assumed else ""
        for entry in norm.members.values():
            rows.append(Row(norm.label, entry.name, None, entry.shape, None, "folded", text))
    return _with(source, entries), record, rows, found.notes()


def unfold_source(source: Source) -> tuple[Source, list[Row]]:
    """The source with the batch norms that an earlier `--fold` took out.

    Raises:
        CheckpointError: the file has no record of a fold.
    """
    folded = source.ours.get("folded")
    if not isinstance(folded, Mapping) or not folded:
        raise CheckpointError(
            f"{source.name}: has no record of a fold; only files that --fold wrote can be unfolded"
        )
    paths = source.ours.get("paths")
    here = {old: new for new, old in paths.items()} if isinstance(paths, Mapping) else {}
    groups = {g.path: g for g in source.groups if g.kind == "kernel"}
    entries = dict(source.checkpoint.entries)
    rows: list[Row] = []
    tracked, settings = dict(source.ours.get("tracked", {})), dict(source.ours.get("settings", {}))
    damaged = f"{source.name}: its record of a fold is damaged"
    for path, facts in folded.items():
        conv = groups.get(str(here.get(path, path)))
        try:
            arrays = {str(n): unpacked(p) for n, p in facts["arrays"].items()}
            epsilon, had_bias = float(facts["epsilon"]), bool(facts["bias"])
            parts = int(facts.get("groups", 1))
            owner = find(facts["framework"]).name
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise CheckpointError(damaged) from error
        if conv is None or "bias" not in conv.members:
            raise CheckpointError(f"{source.name}: the folded layer {path!r} is missing")
        weight, bias = conv.members["weight"], conv.members["bias"]
        alone = Checkpoint({n: Entry.of(n, a) for n, a in arrays.items()}, "memory", owner)
        norm = next((g for g in grouped(alone, owner) if g.kind == "batch_norm"), None)
        if norm is None or not 0 < parts <= weight.shape[0] or not math.isfinite(epsilon):
            raise CheckpointError(damaged)
        statistics = make_statistics(
            {role: e.load() for role, e in norm.members.items()}, epsilon, path
        )
        if parts > 1:
            conv.form = "conv_transpose"
        layout = layout_of(conv, norm)
        outputs = math.prod(weight.shape[axis] for axis in output_axes(layout)) * parts
        if (outputs,) != bias.shape or outputs != norm.channels:
            raise CheckpointError(damaged)
        new = {weight.name: scaled(weight, statistics.scale, layout, parts, back=True)}
        made = Entry.of(bias.name, _bias(weight, bias, statistics, layout, back=True))
        entries = _replaced(entries, new, weight.name, made)
        if not had_bias:
            del entries[bias.name]
        added = {}
        if "count" in norm.members:
            tracked[here.get(norm.path, norm.path)] = counted(norm.members["count"]) or 0
        if "settings" in facts:
            settings[here.get(norm.path, norm.path)] = facts["settings"]
        for role, entry in norm.members.items():
            target = here.get(norm.path, norm.path)
            inner = norm.inner if saved(source.framework).INNER else ""
            name = array_name(norm, role, source.framework, path=target, inner=inner)
            if name is not None:
                added[name] = entry.renamed(name)
                what = f"out of {conv.label}, whose kernel is right up to rounding"
                rows.append(Row(target, None, name, entry.shape, entry.shape, "filled", what))
        entries = _after(entries, weight.name, bias.name, added)
    ours = {**source.ours, "tracked": tracked, "settings": settings}
    return dataclasses.replace(_with(source, entries), ours=ours), rows


def _bias(
    weight: Entry, bias: Entry | None, values: Statistics, layout: str, *, back: bool
) -> Array:
    """The bias; of the kernel it takes one value per channel, for the type."""
    at = output_axes(layout)
    shape = [values.scale.size if a == at[-1] else 1 for a in range(len(layout))]
    kernel = np.zeros(shape, weight.dtype)
    given = None if bias is None else bias.load()
    return (unfold if back else fold)(kernel, given, values, layout=layout).bias


def _replaced(
    entries: dict[str, Entry], new: Mapping[str, Entry], after: str, made: Entry
) -> dict[str, Entry]:
    """The entries with some exchanged and `made` exchanged or put behind `after`."""
    found: dict[str, Entry] = {}
    for name, entry in entries.items():
        found[name] = made if name == made.name else new.get(name, entry)
        if name == after and made.name not in entries:
            found[made.name] = made
    return found


def _after(
    entries: dict[str, Entry], weight: str, bias: str, added: Mapping[str, Entry]
) -> dict[str, Entry]:
    last = bias if bias in entries else weight
    found: dict[str, Entry] = {}
    for name, entry in entries.items():
        found[name] = entry
        if name == last:
            found.update(added)
    return found


def _with(source: Source, entries: dict[str, Entry]) -> Source:
    checkpoint = dataclasses.replace(source.checkpoint, entries=entries)
    groups = grouped(checkpoint, source.framework)
    forms = {(g.kind, g.path): g for g in source.groups}
    for group in groups:
        old = forms.get((group.kind, group.path))
        if old is not None:
            group.form = old.form
    return dataclasses.replace(source, checkpoint=checkpoint, groups=groups)
