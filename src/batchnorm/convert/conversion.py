"""`convert`: a checkpoint of one framework as another's, from opening to the written file."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchnorm.checkpoints import Checkpoint, Entry, write
from batchnorm.checkpoints.checkpoint import Extra
from batchnorm.checkpoints.detection import TEMPLATED, format_of_name
from batchnorm.convert.counterparts import candidates
from batchnorm.convert.fold_plan import fold_source, unfold_source
from batchnorm.convert.frameworks import framework_of_target
from batchnorm.convert.groups import CHANNELS_LAST, Group
from batchnorm.convert.live import batches_of
from batchnorm.convert.loading_order import order_written
from batchnorm.convert.mapping import FORMS, LayerPair, Map, map_text, read_map
from batchnorm.convert.plan import Plan, plan
from batchnorm.convert.record import Record
from batchnorm.convert.report import Report, Row
from batchnorm.convert.settings import Settings, read_settings
from batchnorm.convert.source import Readable, Source, read_any, source_of
from batchnorm.errors import CheckpointError
from batchnorm.reported import Reported
from batchnorm.vocabulary import Array

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Conversion", "convert"]


@dataclass(frozen=True, repr=False)
class Conversion(Reported):
    """A conversion that was done, or planned.

    Attributes:
        report: what went where.
        entries: the target's arrays by name, lazy where files are: those stay open as long as this
            does.
        extras: plain values beside the arrays.
        metadata: what the target's file says beside them.
        map: the map that was used, as TOML.
    """

    report: Report
    entries: Mapping[str, Entry]
    extras: Mapping[str, Extra]
    metadata: Mapping[str, Any]
    map: str

    def __repr__(self) -> str:
        report = self.report
        source, target = report.frameworks
        lines = [f"<Conversion of {report.source}, {source} → {target}: {report.summary}"]
        for title, texts in (
            ("problem", report.problems),
            ("unclear", report.doubts),
            ("note", report.notes),
        ):
            lines += [f"  {title}: {_short(text)}" for text in texts[:5]]
            lines += [f"  … {len(texts) - 5} more {title}s"] if len(texts) > 5 else []
        wrote = f"wrote {report.target}" if report.written else "nothing was written"
        return "\n".join([*lines, f"  exit code {report.exit_code}; {wrote}>"])

    def print(self, console: Console) -> None:
        """Print what went where."""
        self.report.print(console)

    def as_json(self) -> dict[str, Any]:
        """What went where, as plain data."""
        return self.report.as_json()

    def load(self) -> dict[str, Array]:
        """All arrays of the target, by name."""
        return {name: entry.load() for name, entry in self.entries.items()}


def convert(
    source: Readable,
    target: str | os.PathLike[str] | None = None,
    *,
    from_framework: str | None = None,
    to: str | None = None,
    like: Readable | None = None,
    batch: Any = None,
    map: str | os.PathLike[str] | Mapping[str, Any] | Map | None = None,
    settings: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    fold: bool = False,
    unfold: bool = False,
    group: str | None = None,
    allow_missing: bool = False,
    force: bool = False,
    dry_run: bool = False,
    crc: bool = False,
    assume_order: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Conversion:
    """Convert a checkpoint of one framework into another's; no framework is needed.

    With arrays of the source or the template left without counterpart nothing is written, unless
    `allow_missing`; the report says which. Arrays are streamed one by one.

    Args:
        source: a file of any format, a mapping of names to arrays, or a live model.
        target: the file to write; None to get the arrays only.
        from_framework: torch, mindspore, keras or tf_keras, where the source doesn't say it.
        to: the target's framework, where neither the suffix nor the template says it.
        like: a checkpoint of the target model, which gives names, shapes and order.
        batch: what live models are run on, once and in inference, to see which of their layers
            feeds which: an array, or a tuple or mapping of them, channels first for torch and
            MindSpore. In the source's layout, it is carried into that of `like`.
        map: pairs of layers and arrays (see `batchnorm.convert.mapping`).
        settings: eps and momentum by layer in the source's words, or "eps=1e-3,momentum=0.01".
        fold: fold every batch norm into the layer directly before it, where that can be told.
        unfold: undo an earlier fold by its record in the source's metadata.
        group: the dictionary, or the beginning of names, with the model's state, where the file
            holds several models.
        allow_missing: write although arrays are missing or unused; missing ones keep the
            template's values.
        force: replace an existing target.
        dry_run: plan and report only.
        crc: append MindSpore's CRC to a .ckpt.
        assume_order: the target makes its layers in the source's order: where nothing else tells
            layers of one shape apart, and for a Keras file written without `like`.
        progress: called with (bytes done, bytes in all).

    Returns:
        A `Conversion`; its report's `exit_code` is 1 if something needs a look.

    Raises:
        CheckpointError: a file is bad, or it isn't known what is wanted.
        ValueError: an option is wrong.

    Example:
        >>> import numpy as np, batchnorm as bn
        >>> state = {f"bn.{n}": np.ones(2) for n in ("weight", "bias", "running_mean",
        ...                                          "running_var")}
        >>> list(bn.convert(state, to="mindspore").load())
        ['bn.moving_mean', 'bn.moving_variance', 'bn.gamma', 'bn.beta']

    Source: files of torch 2.13, MindSpore 2.10, tf_keras 2.21 and Keras 3.15.
    """
    if fold and unfold:
        raise CheckpointError("fold and unfold were both asked for; choose one")
    pairs = read_map(map)
    with contextlib.ExitStack() as stack:
        batches = batches_of(batch, source, like)
        checkpoint, template = read_any(source, batches[0]), None
        if checkpoint is not source:
            stack.callback(checkpoint.close)
        if like is not None:
            template = read_any(like, batches[1])
            if template is not like:
                stack.callback(template.close)
        framework = framework_of_target(target, template, to)
        given = source_of(
            checkpoint, from_framework, group, parameters=template or (), to=framework
        )
        pairs = pairs.spread([group.path for group in given.groups])
        known = read_settings(settings, given.framework)
        _settle(given, pairs, known)
        rows: list[Row] = []
        notes: list[str] = []
        folded: Mapping[str, Any] = given.ours.get("folded", {})
        if unfold:
            given, rows = unfold_source(given)
            folded = {}
        elif fold:
            given, folded, rows, notes = fold_source(given, pairs, known)
        pattern = None
        if template is not None:
            pattern = source_of(template, framework, parameters=checkpoint, to=framework)
        done = plan(
            given, framework, template=pattern, map=pairs, said=known, folded=folded, rows=rows
        )
        report = done.report
        report.notes += notes
        if assume_order:
            report.notes += report.doubts
            report.doubts = []
        report.target = None if target is None else str(target)
        report.allow_missing = allow_missing
        returning = Record.of(given.ours).source == framework  # its layers' places are recorded
        if (
            target is not None
            and template is None
            and not (given.framework in CHANNELS_LAST or returning)
        ):
            order = order_written(given.groups, format_of_name(Path(target)))
            if order and assume_order:
                report.notes.append(order.partition(". Give")[0])
            elif order:
                report.doubts.append(order)
        if allow_missing and pattern is not None:
            _keep_template(done, pattern)
        done.wrap()
        if target is not None and not dry_run and (report.complete or allow_missing):
            _write(target, done, framework, template, checkpoint, force, crc, progress)
            report.written = True
        entries = {entry.name: entry for entry in done.entries}
        if target is None and isinstance(source, str | os.PathLike) and not dry_run:
            entries = {name: Entry.of(name, entry.load()) for name, entry in entries.items()}
        else:
            stack.pop_all()  # the files are closed with the last entry that needs them
        return Conversion(report, entries, done.extras, done.metadata, _map_text(done, pairs))


def _short(text: str) -> str:
    return text if len(text) <= 160 else text[:159] + "…"


def _settle(source: Source, map: Map, said: Mapping[str, Settings]) -> None:
    """What the map says of a layer's kind; both it and the settings name layers that are there."""
    paths = {group.path for group in source.groups}
    norms = {group.path for group in source.groups if group.kind == "batch_norm"}
    _known("the map", source, map.layers, paths)
    _known("the map", source, map.arrays, source.checkpoint)
    _known("the map's [fold]", source, [*map.fold, *map.fold.values()], paths)
    for group in source.groups:
        kind = map.of(group.path).kind
        if kind and (group.kind == "kernel") != (kind in FORMS):
            raise CheckpointError(
                f"the map's kind = {kind!r} for {group.label!r} has no effect: it is "
                + ("a kernel" if group.kind == "kernel" else "no layer with a kernel")
            )
        if kind and group.kind == "kernel":
            group.form = kind
        if map.of(group.path).flatten and group.kind != "kernel":
            raise CheckpointError(
                f"the map's flatten for {group.label!r} has no effect: it is for dense layers"
            )
    _known("the settings", source, [n for n in said if n != "default"], norms)


def _known(who: str, source: Source, names: Iterable[str], there: Collection[str]) -> None:
    unknown = [name for name in names if name not in there]
    if unknown:
        near = difflib.get_close_matches(unknown[0], there, 3) or sorted(there)[:5]
        raise CheckpointError(
            f"{who}: names {', '.join(repr(n) for n in unknown[:5])}, which {source.name} doesn't "
            f"have; near {unknown[0]!r} it has {', '.join(repr(n) for n in near)}"
        )


def _keep_template(done: Plan, template: Source) -> None:
    """Where arrays are missing and that is allowed, the template's values stay."""
    present = {entry.name for entry in done.entries}
    for index, row in enumerate(done.report.rows):
        if row.status == "missing" and row.target not in present and row.target is not None:
            done.entries.append(template.checkpoint[row.target])
            what = f"{row.what}; keeps the template's value"
            done.report.rows[index] = dataclasses.replace(row, what=what)
    order = {name: index for index, name in enumerate(template.checkpoint)}
    done.entries.sort(key=lambda entry: order.get(entry.name, len(order)))


def _write(
    target: str | os.PathLike[str],
    done: Plan,
    framework: str,
    template: Checkpoint | None,
    source: Checkpoint,
    force: bool,
    crc: bool,
    progress: Callable[[int, int], None] | None,
) -> None:
    format = format_of_name(Path(target))
    inputs = [path for c in (source, template) if c is not None for path in c.paths]
    mould = template if template is not None and template.format == format else None
    if mould is not None and (format not in TEMPLATED or mould.source is None):
        mould = None
    metadata = dict(done.metadata)
    if template is not None and mould is None and framework in CHANNELS_LAST:
        metadata["layers"] = template.metadata.get("layers", {})
    write(
        target,
        done.entries,
        framework=framework,
        extras=done.extras,
        metadata=metadata,
        force=force,
        inputs=inputs,
        template=mould,
        partial=True,
        crc=crc,
        progress=progress,
    )


def _map_text(done: Plan, used: Map) -> str:
    """The pairs that were used, and comments on what found none."""
    report = done.report
    pairs: list[tuple[str, LayerPair]] = []
    for group, other in done.pairs:
        said = used.of(group.path)
        to = other.path if other is not None else said.to
        if to is None:
            to = _path_of(done, group)
        pairs.append((group.path, LayerPair(to, said.flatten, said.kind)))
    pairs += [
        (path, pair) for path, pair in used.layers.items() if path not in {n for n, _ in pairs}
    ]
    notes = []
    mine, theirs = done.open_ends
    unused = {row.layer for row in report.of("unused")}
    waiting = [
        (group.path, [other.path for other in candidates(group, theirs, mine)])
        for group in mine
        if group.label in unused and group.path not in used.layers
    ]
    lost = [group.label for group in theirs if not candidates(group, mine, theirs)]
    if lost:
        notes.append("layers of the target that nothing in the source fits: " + ", ".join(lost))
    notes += report.problems
    notes += [f"{row.source}: {row.what}" for row in report.of("ambiguous") if row.what]
    return map_text(pairs, used.arrays.items(), notes, waiting)


def _path_of(done: Plan, group: Group) -> str:
    paths = done.metadata.get("batchnorm", {}).get("paths", {})
    return next((new for new, old in paths.items() if old == group.path), group.path)
