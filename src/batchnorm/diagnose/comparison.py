"""Two recordings compared: every pair of layers in order, each by itself, then what lies between.

Not here: which causes there are and how each is found (`state`, `output`, `update`, `gradient`,
`upstream`), and how a report looks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from batchnorm.diagnose.alignment import Pair, align
from batchnorm.diagnose.between import CLOSE, between, difference
from batchnorm.diagnose.finding import Finding, Undecided, grouped
from batchnorm.diagnose.fix import fix_of
from batchnorm.diagnose.gradient import MISSING, explain_gradient, loss_factor
from batchnorm.diagnose.output import explain_output
from batchnorm.diagnose.ranks import missing, together, whole
from batchnorm.diagnose.recording import INFERENCE, TRAINING, Node, Recording, Rule
from batchnorm.diagnose.replay import Hypothesis, Replay
from batchnorm.diagnose.report import Depth, Report
from batchnorm.diagnose.state import same, state_findings
from batchnorm.diagnose.trace import Trace
from batchnorm.diagnose.update import explain_update
from batchnorm.diagnose.upstream import adds, layer_findings

__all__ = ["compare_recordings"]


def compare_recordings(
    source: Recording | Sequence[Recording],
    port: Recording | Sequence[Recording],
    map: Mapping[str, str] | None = None,
) -> Report:
    """Say what makes a port's run differ from its source's.

    Args:
        source: a run of the model that was ported; of several processes those of all of them, of
            which the first one is looked at by the moments of all.
        port: one of its port, on the same batch; or those of all its processes.
        map: names in the port by names in the source, where they aren't found.

    Raises:
        ValueError: the map names a layer that isn't there; recordings of two runs of one side.
    """
    return _Comparison(whole(source), whole(port), map).report()


class _Comparison:
    def __init__(
        self, sources: list[Recording], ports: list[Recording], map: Mapping[str, str] | None
    ) -> None:
        self.sources, self.ports = sources, ports
        self.source, self.port = source, port = sources[0], ports[0]
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
        self._unreached()
        drawn = self._drawn()
        if INFERENCE not in drawn:
            between(self.source, self.port, self.pairs, self._add, self._doubt)
        if not drawn:
            self._loss()
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
            d = max(d, difference(one.y, other.y, one.output_shape, other.output_shape))
        self.depth.append(Depth(source.name, d, pair.place))

    def _named(self, pair: Pair, cause: str) -> bool:
        return any(f.cause == cause and f.layers == [pair.source.name] for f in self.findings)

    def _computes_with_less(self, pair: Pair) -> bool:
        """Whether the port's layer was found to compute with fewer digits, in any phase so far."""
        return any(
            f.cause == "precision-differs" and f.layers == [pair.source.name]
            and "loaded as" not in f.evidence for f in self.findings
        )  # fmt: skip

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
        if rule.batch:
            self._called(pair, phase)
        for index, (mine, trace) in enumerate(calls):
            if 0 in trace.shape:
                continue
            if not np.isfinite(trace.x).any():
                self._doubt("output, update and gradient", "no number reaches it that is finite",
                            source.name)  # fmt: skip
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
            if rule.batch:
                told = self._shared(pair, phase, index, mine, replay, rule, declared)
                if told is None:
                    return
                replay = told
            explained = explain_output(replay, rule, declared)
            causes = {cause for cause, _, _ in explained.findings}
            if self._computes_with_less(pair) and causes & {"precision-differs", "unexplained"}:
                causes, explained.findings = {"precision-differs"}, []
            if port.unread and causes == {"unexplained"} and (added := adds(replay, rule)):
                self._doubt("output, update and gradient", f"the layer applies {added} itself",
                            source.name)  # fmt: skip
                continue
            for cause, evidence, runner in explained.findings:
                self._add(pair, cause, evidence, runner, phase)
            h = explained.hypothesis
            axis = rule.axis if h is None else h.axis
            if not causes & {"mode-differs", "precision-differs"} and axis in replay.statistics:
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
                self._doubt(
                    "update and gradient", "the port's values have fewer digits", source.name
                )
            elif h is not None and phase != INFERENCE and len(port.calls[phase]) == 1:
                for cause, evidence, runner in explain_gradient(replay, h, trained):
                    if MISSING in evidence and "mode-differs" in causes:
                        self._freezing(pair, phase, evidence)
                    else:
                        self._add(pair, cause, evidence, runner, phase)

    def _called(self, pair: Pair, phase: str) -> None:
        """How often: as gradients accumulate, one model takes the batch in parts."""
        sizes = [[call.shape[0] for call in node.calls[phase]] for node in (pair.source, pair.port)]
        if len(sizes[0]) == len(sizes[1]):
            return
        mine, own = (f"{len(s)} call(s) with {max(s)} samples" for s in sizes)
        if sum(sizes[0]) == sum(sizes[1]):
            self._add(pair, "batch-statistics-differ", {"port": own, "source": mine}, "", phase)
        else:
            why = f"{own} in the port and {mine} in the source"
            self._doubt("all calls of a step", why, pair.source.name)

    def _freezing(self, pair: Pair, phase: str, evidence: dict[str, Any]) -> None:
        """Running statistics and no gradients of the parameters are one cause: it is frozen."""
        for finding in self.findings:
            if (finding.cause, finding.layers, finding.phase) == (
                "mode-differs", [pair.source.name], phase,
            ):  # fmt: skip
                finding.evidence |= evidence

    def _shared(
        self,
        pair: Pair,
        phase: str,
        index: int,
        mine: Trace,
        replay: Replay,
        rule: Rule,
        declared: Rule | None,
    ) -> Replay | None:
        """The port's call by the moments of the process or of all, as the source's shares them.

        Returns:
            None where the recordings of other processes that this takes aren't there.
        """
        source, port = pair.source, pair.port
        said = [bool(node.facts.get("synchronized")) for node in (source, port)]
        absent = [missing(side) for side in (self.sources, self.ports)]
        sizes = [side[0].rank[1] for side in (self.sources, self.ports)]
        if any(absent) or sizes == [1, 1] or sizes[0] != sizes[1]:
            several = max(sizes) > 1
            if (any(said) and several) or said[0] != said[1]:
                whose = "both models'" if all(said) else "the source's" if said[0] else "the port's"
                self._doubt(
                    "synchronization-differs",
                    f"{whose} statistics are those of all processes, which only the recordings of "
                    "all, of as many in each model, can tell: `batchnorm record --rank`",
                    source.name,
                )
            return None if any(said) and several else replay
        wide = [
            together(side, node.name, phase, index)
            for side, node in ((self.sources, source), (self.ports, port))
        ]
        if wide[0] is None or wide[1] is None:
            return replay
        h = Hypothesis.of(rule)
        fits = [Replay(mine, source.one_pass, w).score(h) <= 1.0 for w in (None, wide[0])]
        shares = fits[1] if fits[0] != fits[1] else said[0] and not fits[0]
        replays = replay, Replay(replay.trace, port.one_pass, wide[1])
        expected, other = replays[shares], replays[not shares]
        if expected.score(h) <= 1.0:
            return expected
        found = [len(explain_output(r, rule, declared).findings) for r in (expected, other)]
        unknown = [explain_output(r, rule, declared).hypothesis is None for r in (expected, other)]
        if unknown[1] or (found[1] >= found[0] and not unknown[0]):
            return expected
        words = {True: f"of all {sizes[0]} processes", False: "of each process alone"}
        evidence = {"port's statistics": words[not shares], "source's": words[shares]}
        self._add(pair, "synchronization-differs", evidence, "", phase)
        return other

    def _unreached(self) -> None:
        """Gradients that stop in one model: named where they come from, so at the last layer."""
        norms = [p for p in self.pairs if p.source.kind == p.port.kind == "batch_norm"]
        for phase in (p for p in self.source.phases if p in self.port.phases and p != INFERENCE):
            told = [[_reached(n.calls.get(phase, [])) for n in (p.source, p.port)] for p in norms]
            if not (any(mine for mine, _ in told) and any(own for _, own in told)):
                continue  # nobody differentiates one of them
            stops = [None not in sides and sides[0] != sides[1] for sides in told]
            for pair, sides, here, behind in zip(
                norms, told, stops, [*stops, False][1:], strict=True
            ):
                if here and not behind and not self._named(pair, "mode-differs"):
                    where = f"the {'source' if sides[0] else 'port'} only"
                    evidence = {"a gradient reaches it in": where}
                    self._add(pair, "gradient-differs", evidence, "", phase)

    def _drawn(self) -> set[str]:
        """In which phases random numbers were drawn, so that what reaches a layer says nothing."""
        drawn = [side for side, r in (("source", self.source), ("port", self.port)) if r.chance]
        if drawn:
            self._doubt("what depends on chance", "random numbers were drawn in the "
                        f"{' and the '.join(drawn)}, by what no switch turns off")  # fmt: skip
        return {*self.source.chance, *self.port.chance}

    def _loss(self) -> None:
        """A constant between the gradients that reach the last batch norm, of equal outputs."""
        outputs = [[o.reshape(-1, 1) for o in r.outputs] for r in (self.source, self.port)]
        norms = [p for p in self.pairs if p.source.call(TRAINING) and p.port.call(TRAINING)]
        norms = [p for p in norms if p.source.kind == "batch_norm"]
        if not norms or len(outputs[0]) != len(outputs[1]):
            return
        calls = norms[-1].source.calls[TRAINING][0], norms[-1].port.calls[TRAINING][0]
        ends = [*zip(*outputs, strict=True), (calls[0].y, calls[1].y)]
        if all(difference(a, b, a.shape, b.shape) <= CLOSE for a, b in ends):
            k = loss_factor(*calls)
            if k is not None:
                self._add(norms[-1], "gradient-differs", {"of": "the loss", "times": k}, "",
                          TRAINING)  # fmt: skip

    def _continuity(self, pair: Pair, earlier: str, phase: str) -> None:
        """Whether what one step left is what the next one finds."""

        def holds(node: Node) -> bool:
            left, found = node.calls[earlier][-1].after, node.calls[phase][0].before
            roles = [r for r in ("running_mean", "running_var") if r in left and r in found]
            return all(same(left[r], found[r], 1e-6) for r in roles)

        if holds(pair.source) and not holds(pair.port):
            self._add(pair, "not-updated", {"dropped": "between two steps"}, "", phase)


def _reached(calls: list[Trace]) -> bool | None:
    """Whether a gradient has reached a layer; None where it trains nothing."""
    if not any({"gamma", "beta"} & set(call.before) for call in calls):
        return None
    if all(call.dy is None for call in calls):
        return False
    return True if any(call.gradients for call in calls) else None


def _beyond(rule: Rule, replay: Replay) -> str:
    """What of a layer's batch statistics a replay has no means for, where it has any effect."""
    idle = "renorm" not in rule.beyond and replay.score(Hypothesis.of(rule)) <= 1.0
    return "" if idle else rule.beyond
