"""Two recordings compared: every pair of layers in order, each by itself, then what lies between.

Not here: which causes there are and how each is found (`state`, `output`, `update`, `gradient`,
`upstream`), and how a report looks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from batchnorm.diagnose.alignment import Pair, align
from batchnorm.diagnose.finding import Finding, Undecided, grouped
from batchnorm.diagnose.fix import fix_of
from batchnorm.diagnose.gradient import explain_gradient
from batchnorm.diagnose.output import explain_output
from batchnorm.diagnose.recording import INFERENCE, Node, Recording, Rule
from batchnorm.diagnose.replay import Hypothesis, Replay
from batchnorm.diagnose.report import Depth, Report
from batchnorm.diagnose.state import same, state_findings
from batchnorm.diagnose.trace import Trace
from batchnorm.diagnose.update import explain_update
from batchnorm.diagnose.upstream import (
    layer_findings,
    link_of,
    link_text,
    linked,
    reordered,
    scale_of,
)
from batchnorm.vocabulary import Array

__all__ = ["compare_recordings"]

CLOSE = 1e-4  # of what reaches a layer, relative to its largest value
GROWTH = 30.0  # of a difference between two watched layers, through what has no parameters


def compare_recordings(
    source: Recording, port: Recording, map: Mapping[str, str] | None = None
) -> Report:
    """Say what makes a port's run differ from its source's.

    Args:
        source: a run of the model that was ported.
        port: one of its port, on the same batch.
        map: names in the port by names in the source, where they aren't found.

    Raises:
        ValueError: the map names a layer that isn't there.
    """
    return _Comparison(source, port, map).report()


class _Comparison:
    def __init__(self, source: Recording, port: Recording, map: Mapping[str, str] | None) -> None:
        self.source, self.port = source, port
        self.pairs, self.left, self.right = align(source, port, map)
        self.findings: list[Finding] = []
        self.notes: dict[str, list[str]] = {}
        self.undecided: dict[tuple[str, str], list[str]] = {}
        self.depth: list[Depth] = []

    def report(self) -> Report:
        """Look at everything once."""
        for pair in self.pairs:
            if pair.source.kind == "batch_norm" and pair.port.kind == "batch_norm":
                self._norm(pair)
            elif pair.source.kernel is not None and pair.port.kernel is not None:
                others = {
                    n.name: n
                    for n in self.source.nodes
                    if n is not pair.source and n.kernel is not None
                }
                for cause, evidence, runner in layer_findings(pair.source, pair.port, others):
                    self._add(pair, cause, evidence, runner, INFERENCE)
        self._between()
        for side, nodes in (("source", self.left), ("port", self.right)):
            names = [n.name for n in nodes if n.kind == "batch_norm"]
            if names:
                self._doubt(
                    "pairing",
                    f"no layer of the other model was found for these of the "
                    f"{side}; name it in a map",
                    *names,
                )
        findings = grouped(self.findings)
        for finding in findings:
            finding.fix = finding.fix or fix_of(finding, self.source, self.port)
        named = {name for f in findings for name in f.layers}
        follows = (
            [d.layer for d in self.depth if d.difference > CLOSE and d.layer not in named]
            if findings
            else []
        )
        return Report(
            findings=findings,
            follows=follows,
            undecided=[Undecided(w, tuple(n), why) for (w, why), n in self.undecided.items()],
            notes=[f"{text} ({len(n)} layers)" for text, n in self.notes.items()],
            depth=self.depth,
            pairs=[(p.source.name, p.port.name, p.why) for p in self.pairs],
            frameworks=(self.source.framework, self.port.framework),
            phases=[p for p in self.source.phases if p in self.port.phases],
            dropped=list(dict.fromkeys([*self.source.dropped, *self.port.dropped])),
        )

    def _add(
        self, pair: Pair, cause: str, evidence: dict[str, Any], runner: str, phase: str
    ) -> None:
        self.findings.append(
            Finding(cause, [pair.source.name], [pair.port.name], evidence, runner, "",
                    pair.place, phase)
        )  # fmt: skip

    def _doubt(self, what: str, why: str, *names: str) -> None:
        held = self.undecided.setdefault((what, why), [])
        held += [name for name in names if name not in held]

    # ------------------------------------------------------------------------- one batch norm

    def _norm(self, pair: Pair) -> None:
        source, port = pair.source, pair.port
        mine, own = source.call(INFERENCE), port.call(INFERENCE)
        if mine is None or own is None:
            if (mine is None) != (own is None):
                self._doubt(
                    "everything", "the layer is called in one of the models only", source.name
                )
            return
        if (source.standing, port.standing) in ((True, False), (False, True)):
            words = {True: "training", False: "inference"}
            self._add(
                pair, "mode-differs",
                {"port stands in": words[bool(port.standing)],
                 "source in": words[bool(source.standing)]},
                "", "as it stands",
            )  # fmt: skip
        wide = [bool(node.facts.get("synchronized")) for node in (source, port)]
        if wide[0] != wide[1]:
            whose = "the source's" if wide[0] else "the port's"
            self._doubt(
                "synchronization-differs",
                f"{whose} statistics are those of all processes, and this run saw one: with "
                "several, each step has another batch",
                source.name,
            )
        epsilons = {r.epsilon for n in (source, port) for r in n.rules.values()}
        others = {
            n.name: n.calls[INFERENCE][0].before
            for n in self.source.norms
            if n is not source and n.calls.get(INFERENCE)
        }
        trained = frozenset(
            role for calls in source.calls.values() for t in calls for role in t.gradients
        )
        for cause, evidence in state_findings(
            mine.before, own.before, others, tuple(sorted(epsilons))
        ):
            self._add(pair, cause, evidence, "", INFERENCE)
        missing = [r for r in ("gamma", "beta") if r in trained and r not in own.before]
        if missing and not self._named(pair, "affine-missing"):
            self._add(pair, "affine-missing", {"missing": " and ".join(missing)}, "", INFERENCE)
        phases = [p for p in self.source.phases if p in port.calls and p in source.calls]
        earlier: str | None = None
        for phase in phases:
            self._phase(pair, phase, trained)
            if earlier is not None and phase != INFERENCE:
                self._continuity(pair, earlier, phase)
            earlier = phase if phase != INFERENCE else None
        d = 0.0
        for phase in phases:
            one, other = source.calls[phase][0], port.calls[phase][0]
            d = max(d, _difference(one.y, other.y, one.output_shape, other.output_shape))
        self.depth.append(Depth(source.name, d, pair.place))

    def _named(self, pair: Pair, cause: str) -> bool:
        return any(f.cause == cause and f.layers == [pair.source.name] for f in self.findings)

    def _phase(self, pair: Pair, phase: str, trained: frozenset[str]) -> None:
        source, port = pair.source, pair.port
        rule, declared = source.rules.get(phase), port.rules.get(phase)
        if rule is None:
            self._doubt(
                "everything",
                f"the source's rule can't be read: {source.unread or '?'}",
                source.name,
            )
            return
        calls = list(zip(source.calls[phase], port.calls[phase], strict=False))
        for mine, trace in calls:
            if 0 in trace.shape:
                continue
            if mine.dtype != trace.dtype and "float" in mine.dtype and "float" in trace.dtype:
                self._add(pair, "precision-differs", {"port": trace.dtype, "source": mine.dtype},
                          "", phase)  # fmt: skip
            replay = Replay(trace, port.one_pass)
            beyond = [
                "" if own is None else _beyond(own, Replay(call, node.one_pass))
                for node, own, call in ((port, declared, trace), (source, rule, mine))
            ]
            if beyond[0] != beyond[1]:
                evidence = {"port": beyond[0] or "none", "source": beyond[1] or "none"}
                self._add(pair, "batch-statistics-differ", evidence, "", phase)
                return
            if beyond[0]:
                self._doubt("output, update and gradient in training",
                            f"{beyond[0]}: nothing is kept by which it could be replayed",
                            source.name)  # fmt: skip
                return
            explained = explain_output(replay, rule, declared)
            causes = set()
            for cause, evidence, runner in explained.findings:
                causes.add(cause)
                if not (cause == "precision-differs" and self._named(pair, cause)):
                    self._add(pair, cause, evidence, runner, phase)
            h = explained.hypothesis
            axis = rule.axis if h is None else h.axis
            if "mode-differs" not in causes and axis in trace.statistics:
                moved = explain_update(replay, rule, declared, axis)
                for cause, evidence, runner in moved.findings:
                    self._add(pair, cause, evidence, runner, phase)
                for note in moved.notes:
                    held = self.notes.setdefault(note, [])
                    held += [] if source.name in held else [source.name]
                for what, why in moved.undecided:
                    self._doubt(what, why, source.name)
            low = "precision-differs" in causes or mine.dtype != trace.dtype
            if low and phase != INFERENCE:
                self._doubt("gradient", "the port's values have fewer digits", source.name)
            elif h is not None and phase != INFERENCE and len(calls) == 1:
                for cause, evidence, runner in explain_gradient(replay, h, trained):
                    self._add(pair, cause, evidence, runner, phase)

    def _continuity(self, pair: Pair, earlier: str, phase: str) -> None:
        """Whether what one step left is what the next one finds."""

        def holds(node: Node) -> bool:
            left, found = node.calls[earlier][-1].after, node.calls[phase][0].before
            roles = [r for r in ("running_mean", "running_var") if r in left and r in found]
            return all(same(left[r], found[r], 1e-6) for r in roles)

        if holds(pair.source) and not holds(pair.port):
            self._add(pair, "not-updated", {"dropped": "between two steps"}, "", phase)

    # ------------------------------------------------------------------------- between layers

    def _between(self) -> None:
        """What reaches each layer, by the outputs before it in its own model."""
        partner = {pair.source.name: pair for pair in self.pairs}
        before: list[tuple[str, tuple[int, ...], Array]] = []
        values: dict[str, tuple[tuple[int, ...], Array]] = {}
        error = 0.0
        pairs = zip(self.source.batch, self.port.batch, strict=False)
        for index, (mine, own) in enumerate(pairs):
            name = "the batch" if index == 0 else f"the batch {index}"
            before.insert(0, (name, mine.shape, mine.x.astype(np.float64)))
            values[name] = (own.shape, own.x.astype(np.float64))
            error = max(error, _difference(mine.x, own.x, mine.shape, own.shape))
        if error > CLOSE:
            self._doubt(
                "what reaches the first layers",
                "the two models were given batches that differ",
                "the batch",
            )
        for node in self.source.nodes:
            one = node.call(INFERENCE)
            pair = partner.get(node.name)
            other = None if pair is None else pair.port.call(INFERENCE)
            if one is None:
                continue
            x, y = one.x.astype(np.float64), one.y.astype(np.float64)
            if pair is not None and other is not None:
                error = self._reaches(pair, one, other, before, values, error)
            before.insert(0, (f"the input of {node.name}", one.inner_shape, x))
            before.insert(0, (node.name, one.output_shape, y))
            if other is not None:
                values[f"the input of {node.name}"] = (
                    other.inner_shape, other.x.astype(np.float64),
                )  # fmt: skip
                values[node.name] = (other.output_shape, other.y.astype(np.float64))

    def _reaches(
        self,
        pair: Pair,
        one: Trace,
        other: Trace,
        before: list[tuple[str, tuple[int, ...], Array]],
        values: dict[str, tuple[tuple[int, ...], Array]],
        error: float,
    ) -> float:
        """Name what is wrong with a layer's input; give the largest difference so far."""
        x, own = one.x.astype(np.float64), other.x.astype(np.float64)
        d = _difference(x, own, one.inner_shape, other.inner_shape)
        after = _difference(one.y, other.y, one.output_shape, other.output_shape)
        link = link_of(x, one.inner_shape, before)
        given = {n: v for n, (shape, v) in values.items() if shape == other.inner_shape}
        if one.inner_shape != other.inner_shape:
            if sorted(one.inner_shape) == sorted(other.inner_shape) and one.shape != other.shape:
                self._add(pair, "layout-differs",
                          {"port": str(other.inner_shape), "source": str(one.inner_shape)}, "",
                          INFERENCE)  # fmt: skip
        elif link is not None and all(n in given for n in link.names):
            found = linked(link, own, given)
            if found is not None and not self._tolerated(d, error, found[0]):
                self._add(pair, found[0], {**found[1], "after": link_text(link)}, found[2],
                          INFERENCE)  # fmt: skip
        elif d > max(CLOSE, GROWTH * error) and np.isfinite(own).all():
            cause, evidence, runner = _unlinked(x, own, one)
            self._add(pair, cause, evidence, runner, INFERENCE)
        elif error > CLOSE and link is None and d > CLOSE:
            self._doubt(
                "what reaches the layer",
                "a difference comes in from before, and what lies between isn't known",
                pair.source.name,
            )
        return max(error, d, after)

    def _tolerated(self, d: float, error: float, cause: str) -> bool:
        """Whether the difference is rounding alone, for a function that is not exactly ours."""
        return cause == "input-differs" and d <= max(CLOSE, 4 * error)


def _beyond(rule: Rule, replay: Replay) -> str:
    """What of a layer's batch statistics a replay has no means for, where it has any effect."""
    idle = "renorm" not in rule.beyond and replay.score(Hypothesis.of(rule)) <= 1.0
    return "" if idle else rule.beyond


def _unlinked(x: Array, own: Array, one: Trace) -> tuple[str, dict[str, Any], str]:
    scaled = scale_of(own, x)
    if scaled is not None:
        return "scale-differs", scaled, ""
    moved = reordered(own, x)
    if moved is not None:
        return moved
    size = float(np.abs(x).max(initial=0.0))
    wrong = (np.abs(own - x) > CLOSE * size).any(1)
    evidence = {"places": f"{int(wrong.sum())} of {wrong.size}",
                "largest difference": float(np.abs(own - x).max() / max(size, 1e-30))}  # fmt: skip
    return "input-differs", evidence, ""


def _difference(a: Array, b: Array, shape: tuple[int, ...], other: tuple[int, ...]) -> float:
    """The largest, relative to the largest value; infinite for shapes that differ."""
    if shape != other:
        return float("inf")
    x, y = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(all="ignore"):
        far = np.abs(x - y)
        far = np.where((x == y) | (np.isnan(x) & np.isnan(y)), 0.0, far)
        size = float(np.nanmax(np.where(np.isfinite(x), np.abs(x), 0.0), initial=0.0))
    if np.isnan(far).any():
        return float("inf")
    return float(far.max(initial=0.0) / max(size, 1e-30))
