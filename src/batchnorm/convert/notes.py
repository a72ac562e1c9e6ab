"""What a report says about the whole: denominators, settings, what was left alone.

The denominator of the running variance is what the real frameworks answered to the question
`running-variance-denominator-by-rank` (recorded answers), not what this file says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from batchnorm.convert.groups import Group, still_counters
from batchnorm.convert.record import Record
from batchnorm.convert.report import Report
from batchnorm.convert.rooms import saved
from batchnorm.convert.settings import Settings, defaults, known_settings
from batchnorm.convert.source import Source
from batchnorm.questions import question, recorded
from batchnorm.questions.record import versions
from batchnorm.questions.subject import Ours

__all__ = ["denominator", "general_notes", "left_alone", "passed_over", "still_note"]

QUESTION = "running-variance-denominator"
FORMULAS = {"unbiased": "n - 1", "biased": "n"}


def denominator(framework: str) -> str:
    """By what a framework divides the sum of squares that goes into the running variance."""
    if not versions(framework):  # of another package: its own layers are asked
        experiment = question(QUESTION).experiment
        answer = "" if experiment is None else str(experiment(Ours(framework)))
        return FORMULAS.get(answer, answer)
    answers = recorded(framework)
    by_rank: Any = answers.get(f"{QUESTION}-by-rank")
    if not isinstance(by_rank, dict) or len(set(by_rank.values())) == 1:
        return FORMULAS.get(str(answers[QUESTION]), str(answers[QUESTION]))
    groups: dict[str, list[str]] = {}
    for rank, answer in by_rank.items():
        groups.setdefault(FORMULAS.get(str(answer), str(answer)), []).append(rank)
    return ", ".join(
        f"{formula} for inputs of rank {' and '.join(ranks)}" for formula, ranks in groups.items()
    )


def passed_over(objects: Mapping[str, str]) -> str:
    """One line on what was neither an array nor a plain value, and so is not carried over."""
    some = ", ".join(f"{path or 'the file'} ({kind})" for path, kind in list(objects.items())[:3])
    more = f" and {len(objects) - 3} more" if len(objects) > 3 else ""
    return f"passed over what is neither tensor nor plain value: {some}{more}"


def still_note(layers: Sequence[Group]) -> str:
    """One line on batch norms that moved and counted nothing."""
    some = ", ".join(group.label for group in layers[:3])
    more = f" and {len(layers) - 3} more" if len(layers) > 3 else ""
    return (
        f"statistics moved, although 0 batches were counted: {some}{more}; that is usual in "
        "averages and in files converted from where nothing counts, and else the only sign of "
        "an InstanceNorm with tracked statistics, whose file looks the same (then say "
        'kind = "norm" in the map)'
    )


def left_alone(owner: str, count: int) -> str:
    """One line on arrays that stand beside the model's; an average of it can be asked for."""
    average = re.search(r"(?i)(^|_)(ema|swa|avg|averaged?)(_|$)", owner)
    why = (
        f"they are an average's; take them with --group {owner}"
        if average
        else "they are no part of the model's state"
    )
    return f"left {count} arrays of {owner!r} alone: {why}"


def general_notes(
    source: Source, framework: str, template: Source | None, report: Report, record: Record
) -> list[str]:
    """The notes of a conversion."""
    notes = []
    if source.group:
        notes.append(f"took {source.group!r}")
    notes += [left_alone(owner, count) for owner, count in source.left.items()]
    if source.passed_over:
        notes.append(passed_over(source.passed_over))
    if source.aside.words():
        notes.append(source.aside.words())
    if source.wrapping.inserted:
        notes.append(f"took the wrapper's prefix {source.wrapping.words()}")
    if report.of("kept"):
        notes.append("what was kept is in the target's metadata, and comes back on the way back")
    layers = [g for g in source.groups if g.kind == "batch_norm"]
    taken = [row for row in report.of("folded") if "running mean" in row.what]
    if taken:
        notes.append(
            f"{len(taken)} biases that the target's layers don't have were taken off the running "
            "means of the batch norms after them, which is exact up to one rounding"
        )
    scales = [row for row in report.of("folded") if row.what.startswith("multiplied into")]
    if scales:
        notes.append(
            f"{len(scales)} scales (gamma) that the target's batch norms don't have were "
            "multiplied into the kernels before them: inference is the same up to one rounding, "
            "training is without them, as the target's is"
        )
    if not layers and not report.of("folded"):
        hint = source.checkpoint.metadata.get("onnx", {}).get("no_batch_norms", "")
        notes.append("found no batch-norm layer with running statistics" + str(hint))
    still = [g for g in still_counters(source.groups) if not g.own_class]
    if still and framework != source.framework and not source.ours:
        notes.append(still_note(still))
    if not layers or framework == source.framework:
        return notes
    own, new = denominator(source.framework), denominator(framework)
    notes.append(
        f"running variances are carried unchanged, which is right for inference; the batch "
        f"variance that goes into them is divided by {own} in {source.framework}"
        + (f" and by {new} in {framework} from now on" if own != new else f", as in {framework}")
    )
    notes += _settings_notes(framework, template, report, record, len(layers))
    return notes


def _settings_notes(
    framework: str, template: Source | None, report: Report, record: Record, count: int
) -> list[str]:
    notes = []
    unknown = count - len(report.settings)
    if unknown > 0:
        usual = ", ".join(f"{n}={v}" for n, v in defaults(record.origin).words(framework).items())
        notes.append(
            f"epsilon and momentum of {unknown} layers are in no file; if {record.origin}'s "
            f"defaults were used, construct the target's layers with {usual}; say others with "
            "--settings"
        )
    for words in sorted({tuple(w.items()) for w in report.settings.values()}, key=str):
        layers = [p for p, w in report.settings.items() if tuple(w.items()) == words]
        listed = ", ".join(layers[:3]) + (f" and {len(layers) - 3} more" if len(layers) > 3 else "")
        said = ", ".join(f"{n}={v}" for n, v in words)
        notes.append(f"construct with {said}: {listed}")
    cumulative = [
        p
        for p, s in record.settings.items()
        if not saved(framework).CUMULATIVE
        and "weight_of_batch" in s
        and s["weight_of_batch"] is None
    ]
    if cumulative and not saved(framework).CUMULATIVE:
        notes.append(
            f"momentum=None (the average over all batches) has no counterpart in {framework}: "
            + ", ".join(cumulative[:3])
        )
    if template is not None:
        notes += _disagreements(framework, template, record)
    return notes


def _disagreements(framework: str, template: Source, record: Record) -> list[str]:
    """Where the template's config has other settings than the source."""
    notes = []
    for group in template.groups:
        if group.kind != "batch_norm" or group.path not in record.settings:
            continue
        own = known_settings(group, template.ours, {}).words(framework)
        wanted = Settings.from_json(record.settings[group.path]).words(framework)
        wrong = [f"{n}={own[n]} instead of {v}" for n, v in wanted.items() if own.get(n, v) != v]
        if wrong:
            notes.append(f"the template's layer {group.label!r} has {', '.join(wrong)}")
    return notes
