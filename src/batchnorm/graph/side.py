"""`Side`: one of two graphs to be matched, with what is known of each layer's place.

Relations between layers (`kernel_of`, `after`) are sure ones only: the calls of a wired graph, or
what names show. Segments are the stretches between two places where one tensor alone is open, so
that layers of different segments can't stand in for each other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from batchnorm.checkpoints.steps import OUTPUT
from batchnorm.graph.adjacency import BRANCH, TYPES, following, words
from batchnorm.graph.graph import Graph, Layer

__all__ = ["DIRECTLY", "Segment", "Side"]

JOINS_TWO = 2
DIRECTLY = 3  # how layers touch
LESS = 2  # with a pooling or a join between
POOL = "pool"
CONCATENATION = "cat"  # in the names of those that join tensors in the order of their inputs


class Segment:
    """Layers between two places where one tensor alone is open.

    `chain` says that their order tells them apart: each feeds the next, or none of them meet again.
    """

    def __init__(self, layers: list[int], chain: bool) -> None:
        self.layers, self.chain = layers, chain


@dataclass(frozen=True)
class _Places:
    """Steps, as the bits of a number."""

    bits: int

    def __contains__(self, place: int) -> bool:
        return bool(self.bits >> place & 1)


class Side:
    """A graph's layers by number.

    Attributes:
        graph: whose they are.
        layers: in the order in which they run or are listed.
        kernel_of: batch norm -> the layer whose output it takes.
        norm_of: the other way round.
        after: kernel -> the kernels that take what it (or its norm) puts out.
        before: the other way round.
        touching: layer -> those that calls put directly before or after it, and how directly;
            of a batch norm that follows a layer that one alone.
        branch: layers on a short branch beside a longer one, by the calls or by a word.
        pooled: kernels that take what a pooling puts out, by the calls or by a word.
        arms: layer -> which input of a concatenation it leads to, by the calls.
        segments: where the graph is wired.
    """

    def __init__(self, graph: Graph, separator: str) -> None:
        self.graph, self.separator = graph, separator
        self.layers: Sequence[Layer] = graph.layers
        self.number = {layer.path: i for i, layer in enumerate(self.layers)}
        self.kernel_of: dict[int, int] = {}
        self.after: dict[int, set[int]] = {}
        self.touching: dict[int, dict[int, int]] = {}
        self._last: dict[int, tuple[set[int], int]] = {}  # step -> layers before its output, how
        self.branch: set[int] = set()
        self.arms: dict[int, int] = {}
        self.pooled: set[int] = set()
        self.segments: list[Segment] = []
        self.order = list(range(len(self.layers)))
        if graph.wired:
            self._follow_calls()
        elif graph.order == "model":
            self._follow_names()
        self.norm_of = {kernel: norm for norm, kernel in self.kernel_of.items()}
        self.before: dict[int, set[int]] = {}
        for kernel, others in self.after.items():
            for other in others:
                self.before.setdefault(other, set()).add(kernel)
        self.words = [frozenset(w for w in words(one.path) if w not in TYPES and not w.isdigit())
                      for one in self.layers]  # fmt: skip
        self.branch |= {i for i, own in enumerate(self.words) if own & BRANCH}
        if not graph.wired:
            self.pooled = {i for i, own in enumerate(self.words) if any(POOL in w for w in own)}
        self.numbers = [[w for w in words(one.path) if w.isdigit()] for one in self.layers]

    def runs_before(self, first: int, second: int) -> bool | None:
        """Whether a layer's output reaches another one; None where neither does, or none knows."""
        places = [self.graph.calls(self.layers[i]) for i in (first, second)]
        if not all(places):
            return None
        one, other = (calls[0] for calls in places)
        if one in self._reached[other]:
            return True
        return False if other in self._reached[one] else None

    @cached_property
    def _reached(self) -> list[_Places]:
        """For each step the steps whose outputs reach it."""
        found: list[_Places] = []
        for step in self.graph.steps:
            bits = 0
            for place in step.inputs:
                bits |= found[place].bits | 1 << place
            found.append(_Places(bits))
        return found

    def parts(self, layer: int) -> list[str]:
        """A path's parts; those of a name without separators by its underscores."""
        path = self.layers[layer].path
        found = [part for part in re.split(r"[./]", path) if part]
        return found if len(found) > 1 else [part for part in re.split(r"[_-]", path) if part]

    def _follow_names(self) -> None:
        for norm, (kernel, _) in following(self.layers, self.separator).items():
            if kernel is not None:
                self.kernel_of[self.number[norm]] = self.number[kernel.path]
        last: tuple[int, tuple[str, int] | None] = (-1, None)
        for i, layer in enumerate(self.layers):
            if layer.kind != "kernel":
                continue
            own, before = _stem(layer.path), last[1]
            if own is not None and before is not None and own == (before[0], before[1] + 1):
                self.after.setdefault(last[0], set()).add(i)
            last = (i, own)

    def _follow_calls(self) -> None:
        graph = self.graph
        first: dict[int, list[int]] = {}  # step -> layers, at each layer's first call
        place: dict[int, int] = {}
        for i, layer in enumerate(self.layers):
            calls = graph.calls(layer)
            if calls:
                first.setdefault(calls[0], []).append(i)
                place[i] = calls[0]
        known = sorted(place, key=lambda i: (place[i], i))
        for i, step in place.items():
            inputs = graph.steps[step].inputs
            if len(inputs) == 1 and POOL in graph.steps[inputs[0]].what.lower():
                self.pooled.add(i)
            if self.layers[i].kind == "batch_norm" and len(inputs) == 1:
                kernels = [k for k in first.get(inputs[0], ()) if self.layers[k].kind == "kernel"]
                if kernels:
                    self.kernel_of[i] = kernels[-1]
        self.order = [*known, *(i for i in range(len(self.layers)) if i not in place)]
        stretches, start, open_until = [], 0, -1
        for step in range(len(graph.steps)):
            ends = [s for s in graph.consumers(step) if s > step]
            mine = max(ends, default=step)
            if open_until <= step:  # nothing older is needed from here on
                stretches.append((start, step + 1))
                start = step + 1
            open_until = max(open_until, mine)
        if start < len(graph.steps):
            stretches.append((start, len(graph.steps)))
        for begin, end in stretches:
            self._segment(begin, end, first)

    def _segment(self, begin: int, end: int, first: dict[int, list[int]]) -> None:
        """The layers of a stretch of steps, and who in it takes what of whom."""
        steps = self.graph.steps
        above: dict[int, set[int]] = {}  # step -> all layers of the stretch before its output
        kernels: dict[int, set[int]] = {}
        layers: list[int] = []
        chain, joined = True, False
        for s in range(begin, end):
            inputs = [i for i in steps[s].inputs if i >= begin]
            before = set[int]().union(*(above[i] for i in inputs))
            fed = set[int]().union(*(kernels[i] for i in inputs))
            near, how = self._before(s, inputs)
            if len(steps[s].inputs) >= JOINS_TWO and steps[s].what != OUTPUT:
                joined = True
                self._mark_branches(
                    [above.get(i, set()) for i in steps[s].inputs],
                    joined=CONCATENATION in steps[s].what.lower(),
                )
            for one in first.get(s, ()):
                chain = chain and before >= set(layers)
                for other in near | fed:
                    self._touch(one, other, how if other in near else LESS)
                layer = self.layers[one]
                if layer.kind == "kernel":
                    for kernel in fed:
                        self.after.setdefault(kernel, set()).add(one)
                    fed = {one}
                near, how = {one}, DIRECTLY
                before = before | {one}
                layers.append(one)
            above[s], kernels[s], self._last[s] = before, fed, (near, how)
        if layers:
            self.segments.append(Segment(layers, chain or not joined))

    def _before(self, step: int, inputs: list[int]) -> tuple[set[int], int]:
        """The layers before a step, and how directly; a chain goes on over a segment's begin."""
        given = self.graph.steps[step].inputs
        near = set[int]().union(*(self._last[i][0] for i in inputs))
        if len(given) == 1 and not inputs and len(self._last[given[0]][0]) == 1:
            near = self._last[given[0]][0]
        what = self.graph.steps[step].what.lower()
        less = len(given) != 1 or POOL in what or self._last[given[0]][1] == LESS
        return near, LESS if less else DIRECTLY

    def _touch(self, one: int, other: int, how: int) -> None:
        for a, b in ((one, other), (other, one)):
            if self.layers[a].kind == "batch_norm" and self.kernel_of.get(a, b) != b:
                return
        for a, b in ((one, other), (other, one)):
            own = self.touching.setdefault(a, {})
            own[b] = max(own.get(b, 0), how)

    def _mark_branches(self, sides: list[set[int]], *, joined: bool) -> None:
        """Where branches meet, the layers of one that is shorter than another; which is which."""
        alone = [side - set[int]().union(*(o for o in sides if o is not side)) for side in sides]
        if joined:
            for arm, own in enumerate(alone):
                for layer in own:
                    self.arms.setdefault(layer, arm)
        counts = [sum(self.layers[i].kind == "kernel" for i in own) for own in alone]
        if len(sides) == JOINS_TWO and 0 < min(counts) < max(counts):
            self.branch |= alone[counts.index(min(counts))]


def _stem(path: str) -> tuple[str, int] | None:
    """A name without its last number, and that number: `branch_2`, `conv3`; None without one."""
    found = re.fullmatch(r"(.*?)(\d+)(\D*)", path)
    return None if found is None else (f"{found[1]}|{found[3]}", int(found[2]))
