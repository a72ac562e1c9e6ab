"""How well two layers of one shape fit: by their neighbours' pairs, branches, numbers and words.

Ranked: what the map or the calls settle outweighs names, and names outweigh order. A word that most
names share is no evidence.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

from batchnorm.graph.adjacency import words
from batchnorm.graph.nearness import Nearness
from batchnorm.graph.side import Side

__all__ = ["NORM", "SURE", "Evidence"]

NORM = 12  # a batch norm and its convolution
NEIGHBOUR, MARK, ARM, BESIDE, NUMBER, WORD = 6, 3, 3, 3, 2, 2
SURE = 3  # by how much an assignment must be better than any other
MOST = 6  # layers of one shape whose assignments are all tried


class Evidence:
    """What speaks for pairs of two sides.

    Attributes:
        pairs: source layer -> target layer, as far as decided.
    """

    def __init__(self, source: Side, target: Side, pairs: dict[int, int]) -> None:
        self.source, self.target, self.pairs = source, target, pairs
        self.back = {b: a for a, b in pairs.items()}
        self.near = Nearness(source), Nearness(target)

    def pair(self, a: int, b: int) -> None:
        """Decide a pair."""
        self.pairs[a], self.back[b] = b, a

    def assignment(
        self, mine: Sequence[int], theirs: Sequence[int]
    ) -> tuple[list[tuple[int, int]] | None, int]:
        """The best assignment of layers of one shape, and by how much it beats the next best.

        None where there are too many to try, or another number of them on each side.
        """
        if len(mine) != len(theirs) or len(mine) > MOST:
            return None, 0
        score = {(a, b): s for (a, b), s in self.scores(mine, theirs).items()}
        found: list[tuple[int, tuple[int, ...]]] = sorted(
            ((sum(score[a, b] for a, b in zip(mine, order, strict=True)), order)
             for order in itertools.permutations(theirs)), key=lambda one: -one[0],
        )  # fmt: skip
        margin = found[0][0] - found[1][0] if len(found) > 1 else SURE
        return list(zip(mine, found[0][1], strict=True)), margin

    def total(self, pairs: Sequence[tuple[int, int]]) -> int:
        """What speaks for these pairs together."""
        mine, theirs = [a for a, _ in pairs], [b for _, b in pairs]
        score = self.scores(mine, theirs)
        return sum(score[pair] for pair in pairs)

    def scores(self, mine: Sequence[int], theirs: Sequence[int]) -> Mapping[tuple[int, int], int]:
        """A score for each pair of layers of one shape."""
        rare = _rare(self.source, mine) & _rare(self.target, theirs)
        marks = []  # as many layers on each side that one mark tells from the others
        for own, other in (
            (self.source.branch, self.target.branch),
            (self.source.pooled, self.target.pooled),
        ):
            count = [len(own.intersection(mine)), len(other.intersection(theirs))]
            if 0 < count[0] == count[1] < len(mine):
                marks.append((own, other))
        numbers = _numbers(self.source, mine), _numbers(self.target, theirs)
        if sorted(numbers[0].values()) != sorted(numbers[1].values()):
            plain = set(mine), set(theirs)  # without those that a mark tells from the others
            for own, other in marks:
                plain = plain[0] - own, plain[1] - other
            numbers = _ranks(self.source, plain[0]), _ranks(self.target, plain[1])
            if len(numbers[0]) != len(numbers[1]):
                numbers = {}, {}
        beside = self._beside(mine, theirs)
        return {
            (a, b): self._score(a, b, rare, numbers, marks) + BESIDE * ((a, b) in beside)
            for a in mine for b in theirs
        }  # fmt: skip

    def _beside(self, mine: Sequence[int], theirs: Sequence[int]) -> set[tuple[int, int]]:
        """Pairs that layers beside them, which have partners, agree upon."""
        found: dict[int, set[int]] = {}
        for a in mine if len(mine) > 1 and len(theirs) > 1 else ():
            for one in self.near[0].around(a):
                if one not in self.pairs or self.near[0].nearest(one, mine)[0] != a:
                    continue
                b, _ = self.near[1].nearest(self.pairs[one], theirs)
                if b is not None:
                    found.setdefault(a, set()).add(b)
        return {(a, b) for a, own in found.items() for b in own if len(own) == 1}

    def _score(
        self,
        a: int,
        b: int,
        rare: frozenset[str],
        numbers: tuple[Mapping[int, str], Mapping[int, str]],
        marks: Sequence[tuple[set[int], set[int]]],
    ) -> int:
        score = 0
        for mine, theirs in (
            (self.source.kernel_of, self.target.kernel_of),
            (self.source.norm_of, self.target.norm_of),
        ):
            one, other = mine.get(a), theirs.get(b)
            if one is not None and other is not None:
                if one in self.pairs or other in self.back:
                    score += NORM if self.pairs.get(one) == other else -NORM
                elif self.source.layers[one].signature != self.target.layers[other].signature:
                    score -= NORM
        score += self._neighbours(a, b)
        score += MARK * sum((a in own) == (b in other) for own, other in marks)
        if a in self.source.arms and self.source.arms[a] == self.target.arms.get(b):
            score += ARM
        if a in numbers[0] and numbers[0][a] == numbers[1].get(b):
            score += NUMBER
        return score + WORD * len(self.source.words[a] & self.target.words[b] & rare)

    def _neighbours(self, a: int, b: int) -> int:
        """Whether the kernels after and before agree, where both sides know them."""
        score = 0
        for mine, theirs in (
            (self.source.after, self.target.after),
            (self.source.before, self.target.before),
        ):
            for one in mine.get(a, ()):
                if b not in theirs:
                    score -= 1 if self.target.graph.wired else 0
                elif one in self.pairs:
                    score += NEIGHBOUR if self.pairs[one] in theirs[b] else -NEIGHBOUR
                else:
                    shape = self.source.layers[one].signature
                    fits = any(self.target.layers[t].signature == shape for t in theirs[b])
                    score += NEIGHBOUR // 2 if fits else -NEIGHBOUR // 2
        return score


def _rare(side: Side, layers: Sequence[int]) -> frozenset[str]:
    """Words that at most half of these layers have."""
    count = Counter(word for i in layers for word in side.words[i])
    return frozenset(w for w, n in count.items() if 2 * n <= len(layers))


def _numbers(side: Side, layers: Sequence[int]) -> Mapping[int, str]:
    """The number that tells these layers apart: the last one at which their names differ."""
    longest = max((len(side.numbers[i]) for i in layers), default=0)
    for place in range(1, longest + 1):
        own = {i: side.numbers[i][-place] for i in layers if len(side.numbers[i]) >= place}
        if len(set(own.values())) > 1 or (len(own) < len(layers) and own):
            return own
    return {}


def _ranks(side: Side, layers: Collection[int]) -> Mapping[int, str]:
    """The place of each layer, as they run or as the one number in which they differ counts."""
    if len(layers) < 2:
        return {}
    listed = sorted(layers, key=lambda i: side.order.index(i) if side.graph.wired else i)
    if side.graph.wired:
        steps = itertools.pairwise(listed)
        return {i: str(n) for n, i in enumerate(listed)} if all(
            side.runs_before(i, j) for i, j in steps
        ) else {}  # fmt: skip
    names = {i: words(side.layers[i].path) for i in layers}
    if len({len(own) for own in names.values()}) > 1:
        return {}
    places = [p for p, own in enumerate(zip(*names.values(), strict=True)) if len(set(own)) > 1]
    if len(places) != 1:
        return {}
    values = {i: own[places[0]] for i, own in names.items()}
    if len(set(values.values())) < len(values):
        return {}
    if all(value.isdigit() for value in values.values()):
        key: Callable[[int], int] = lambda i: int(values[i])  # noqa: E731
    elif all(len(value) == 1 for value in values.values()):
        key = lambda i: ord(values[i])  # noqa: E731
    else:
        return {}
    return {i: str(n) for n, i in enumerate(sorted(values, key=key))}
