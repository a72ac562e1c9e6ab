"""Two graphs matched: block by block, and inside blocks with all evidence at once.

Where two assignments of layers of one shape remain that differ, none is taken, and `Doubt` names
them. Not here: names that are equal and what a map says (`convert.match`), which come first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from batchnorm.graph.adjacency import BRANCH, words
from batchnorm.graph.alignment import Span, aligned, blocks
from batchnorm.graph.evidence import NORM, SURE, Evidence
from batchnorm.graph.side import Side

__all__ = ["Doubt", "Matching", "match_graphs"]

DEEPEST = 24
FEW = 6  # blocks of one form whose names are asked for another order
SMALL = 60  # layers of a block whose branches are told apart by their names


@dataclass(frozen=True)
class Doubt:
    """Layers of one shape, of which each of the first could be each of the second."""

    source: tuple[int, ...]
    target: tuple[int, ...]


@dataclass
class Matching:
    """Source layer -> target layer and why; what stayed in doubt."""

    pairs: dict[int, int] = field(default_factory=dict)
    why: dict[int, str] = field(default_factory=dict)
    doubts: list[Doubt] = field(default_factory=list)


def match_graphs(
    source: Side,
    target: Side,
    decided: dict[int, int],
    candidates: tuple[Sequence[int], Sequence[int]],
    *,
    ordered: bool,
) -> Matching:
    """Match what is not decided.

    Args:
        source: one side.
        target: the other.
        decided: pairs that are settled, by number of the layer.
        candidates: the layers that may be matched, on each side in order.
        ordered: whether the order of both sides says something.
    """
    work = _Work(source, target, dict(decided))
    work.follow()
    mine, theirs = candidates
    if ordered:
        work.solve(work.open(source, mine), work.open(target, theirs), 0)
    work.finish(work.open(source, mine), work.open(target, theirs))
    return work.result


class _Work:
    def __init__(self, source: Side, target: Side, decided: dict[int, int]) -> None:
        self.source, self.target = source, target
        self.evidence = Evidence(source, target, decided)
        self.result = Matching(self.evidence.pairs)

    def open(self, side: Side, layers: Sequence[int]) -> list[int]:
        """Those of these layers that have no partner yet."""
        done = self.evidence.pairs if side is self.source else self.evidence.back
        return [i for i in layers if i not in done]

    def pair(self, a: int, b: int, why: str) -> None:
        self.evidence.pair(a, b)
        self.result.why[a] = why
        for mine, theirs in (
            (self.source.kernel_of, self.target.kernel_of),
            (self.source.norm_of, self.target.norm_of),
        ):
            one, other = mine.get(a), theirs.get(b)
            if one is None or other is None:
                continue
            if one in self.evidence.pairs or other in self.evidence.back:
                continue
            if self.shape(self.source, one) == self.shape(self.target, other):
                self.pair(one, other, why)

    def follow(self) -> None:
        """A batch norm goes with its convolution."""
        for a, b in list(self.evidence.pairs.items()):
            self.pair(a, b, self.result.why.get(a, "evidence"))
            del self.result.why[a]

    @staticmethod
    def shape(side: Side, layer: int) -> Hashable:
        return side.layers[layer].signature

    def solve(self, mine: list[int], theirs: list[int], depth: int) -> None:
        """Match two stretches: by the pieces of one of them, else with all evidence at once."""
        if not mine or not theirs:
            return
        free = self._one_order(mine, theirs)
        if depth < DEEPEST and len(mine) + len(theirs) > 2:
            if self._by_segments(mine, theirs, depth):
                return
            if free and self._by_blocks(mine, theirs, depth):
                return
        same = [self.shape(self.source, a) for a in mine] == [
            self.shape(self.target, b) for b in theirs
        ]
        self.resolve(mine, theirs, in_order=same and free)

    def _one_order(self, mine: Sequence[int], theirs: Sequence[int]) -> bool:
        """Whether the order of two stretches is evidence: not beside branches that may swap."""
        for side, own in ((self.source, mine), (self.target, theirs)):
            inside = set(own)
            for segment in side.segments:
                if not segment.chain and len(inside & set(segment.layers)) > 1:
                    return False
        return True

    def _by_segments(self, mine: list[int], theirs: list[int], depth: int) -> bool:
        """Split by the segments of a wired side; False if that splits nothing."""
        for side, own, others in ((self.target, theirs, mine), (self.source, mine, theirs)):
            inside = set(own)
            pieces = [[i for i in s.layers if i in inside] for s in side.segments]
            pieces = [piece for piece in pieces if piece]
            whole = len(pieces) > 1 and sum(map(len, pieces)) == len(own)
            if whole and self._split(side, pieces, others, depth):
                return True
        return False

    def _by_blocks(self, mine: list[int], theirs: list[int], depth: int) -> bool:
        """Split by the blocks of names; branches beside them are told by all evidence first."""
        for side, own, others in ((self.target, theirs, mine), (self.source, mine, theirs)):
            if side.graph.wired:
                continue
            parts = [side.parts(i) for i in own]
            spans, _ = blocks(parts)
            if len(spans) < 2:
                continue
            if (
                len(own) <= SMALL
                and self.source.branch & set(mine)
                and (self.target.branch & set(theirs))
            ):
                shared = next(
                    k for k, own in enumerate(zip(*parts, strict=False)) if len(set(own)) > 1
                )
                if any(BRANCH & set(words(p[shared])) for p in parts if len(p) > shared):
                    return False
            if self._split(side, [own[a:b] for a, b in spans], others, depth):
                return True
        return False

    def _split(self, side: Side, pieces: list[list[int]], others: list[int], depth: int) -> bool:
        """Match each piece with the stretch of the other side that it is."""
        other = self.source if side is self.target else self.target
        _, ends = blocks([other.parts(i) for i in others])
        shapes = [[self.shape(side, i) for i in piece] for piece in pieces]
        spans = aligned([self.shape(other, i) for i in others], shapes, ends)
        if not any(spans):
            return False
        spans = self._unopposed(side, pieces, spans, others)
        for piece, span in zip(pieces, spans, strict=True):
            if span is not None:
                stretch = others[span[0] : span[1]]
                pair = (stretch, piece) if side is self.target else (piece, stretch)
                self.solve(
                    self.open(self.source, pair[0]), self.open(self.target, pair[1]), depth + 1
                )
        return True

    def _unopposed(
        self,
        side: Side,
        pieces: Sequence[Sequence[int]],
        spans: Sequence[Span | None],
        others: Sequence[int],
    ) -> list[Span | None]:
        """The stretches without those of blocks of one form that names pair the other way round."""
        forms: dict[Hashable, list[int]] = defaultdict(list)
        for index, piece in enumerate(pieces):
            if spans[index] is not None:
                forms[tuple(self.shape(side, i) for i in piece)].append(index)
        result = [*spans]
        for same in forms.values():
            if not 1 < len(same) <= FEW:
                continue
            own = [pieces[index][0] for index in same]
            found = [spans[index] for index in same]
            other = [others[span[0]] for span in found if span is not None]
            pair = (other, own) if side is self.target else (own, other)
            if self.shape(self.source, pair[0][0]) != self.shape(self.target, pair[1][0]):
                continue
            best, margin = self.evidence.assignment(*pair)
            if best is not None and margin >= SURE and best != list(zip(*pair, strict=True)):
                for index in same:
                    result[index] = None
        return result

    def resolve(self, mine: list[int], theirs: list[int], *, in_order: bool) -> None:
        """Match layers of two blocks shape by shape, kernels first, until nothing changes."""
        again = True
        while again:
            again = False
            for a_class, b_class in self._classes(mine, theirs):
                pairs, margin = self.evidence.assignment(a_class, b_class)
                least = SURE
                if in_order and pairs != list(zip(a_class, b_class, strict=False)):
                    least = 2 * SURE  # order speaks against it
                if (
                    pairs
                    and margin >= least
                    and (len(pairs) > 1 or self.evidence.total(pairs) > -NORM)
                ):
                    why = "shape" if len(pairs) == 1 else "evidence"
                    again = True
                    for a, b in pairs:
                        if a not in self.evidence.pairs and b not in self.evidence.back:
                            self.pair(a, b, why)
                    break
        if in_order:
            for a_class, b_class in self._classes(mine, theirs):
                self._in_order(a_class, b_class)

    def _in_order(self, mine: list[int], theirs: list[int]) -> None:
        """Layers of one shape in the order of both sides, if nothing fits better."""
        if len(mine) != len(theirs):
            return
        pairs = list(zip(mine, theirs, strict=True))
        best, _ = self.evidence.assignment(mine, theirs)
        scores = self.evidence.scores(mine, theirs)
        total = sum(scores[pair] for pair in pairs)
        if best is not None:
            better = sum(scores[pair] for pair in best) > total
        else:
            better = any(
                scores[a, d] + scores[c, b] > scores[a, b] + scores[c, d]
                for k, (a, b) in enumerate(pairs)
                for c, d in pairs[k + 1 :]
            )
        if not better:
            for a, b in pairs:
                if a not in self.evidence.pairs and b not in self.evidence.back:
                    self.pair(a, b, "order")

    def _classes(
        self, mine: Sequence[int], theirs: Sequence[int]
    ) -> list[tuple[list[int], list[int]]]:
        """Open layers of one shape on both sides; kernels first, as norms go with them."""
        found: dict[Hashable, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
        for side, own, place in ((self.source, mine, 0), (self.target, theirs, 1)):
            for i in self.open(side, own):
                found[self.shape(side, i)][place].append(i)
        classes = [pair for pair in found.values() if pair[0] and pair[1]]
        return sorted(classes, key=lambda pair: self.source.layers[pair[0][0]].kind != "kernel")

    def finish(self, mine: list[int], theirs: list[int]) -> None:
        """What occurs once on each side; the rest stays in doubt."""
        again = True
        while again:
            again = False
            classes = self._classes(mine, theirs)
            for a_class, b_class in classes:
                single = len(a_class) == len(b_class) == 1
                if single and self.evidence.total([(a_class[0], b_class[0])]) > -NORM:
                    self.pair(a_class[0], b_class[0], "shape")
                    again = True
                    break
                pairs, margin = self.evidence.assignment(a_class, b_class)
                if not single and pairs and margin >= 2 * SURE:
                    again = True
                    for a, b in pairs:
                        if a not in self.evidence.pairs and b not in self.evidence.back:
                            self.pair(a, b, "evidence")
                    break
        self.result.doubts += [Doubt(tuple(a), tuple(b)) for a, b in self._classes(mine, theirs)]
