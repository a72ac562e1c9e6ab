"""Which pairs of a matching could be exchanged without contradicting anything that is known.

Two layers of one shape have their partners for a reason, if one of these tells them apart on both
sides: one runs before the other (calls), or their names count so (`conv1`, `conv2`); a branch, a
pooling before it, or its place in a concatenation; a word that partners share throughout; the
layers before and after them, if these have a reason. The order in which a side lists its layers
alone is none: a model may make them in another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from batchnorm.graph.adjacency import BRANCH, TYPES, words
from batchnorm.graph.side import Side

__all__ = ["exchangeable"]

REACH = 12  # neighbours in the order of a side that each layer is compared with
DEEPEST = 6  # reasons of reasons
FIRST = frozenset({"stem", "init", "initial", "first", "entry"})
LAST = frozenset({"head", "final", "last", "classifier", "fc", "top", "exit"})
STEPS = {"expand": 0, "expansion": 0, "depthwise": 1, "dw": 1, "squeeze": 1, "project": 2,
         "projection": 2, "pwl": 2}  # of an inverted bottleneck  # fmt: skip


def exchangeable(
    source: Side, target: Side, pairs: Mapping[int, int], settled: Collection[int]
) -> list[tuple[int, int]]:
    """Pairs of layers of the source whose partners could be each other's.

    Args:
        source: one side.
        target: the other.
        pairs: source layer -> target layer.
        settled: layers of the source whose partner the map, or their name, says.
    """
    reasons = _Reasons(source, target, pairs)
    classes: dict[object, list[int]] = {}
    for a in pairs:
        if a not in settled:
            classes.setdefault(source.layers[a].signature, []).append(a)
    found = set()
    for own in classes.values():
        for rank in (lambda a: a, lambda a: pairs[a]):
            listed = sorted(own, key=rank)
            for place, a in enumerate(listed):
                for b in listed[place + 1 : place + 1 + REACH]:
                    if not reasons.told(a, b):
                        found.add((min(a, b), max(a, b)))
    return sorted(found)


class _Reasons:
    """What tells two pairs apart."""

    def __init__(self, source: Side, target: Side, pairs: Mapping[int, int]) -> None:
        self.source, self.target, self.pairs = source, target, pairs
        self.back = {b: a for a, b in pairs.items()}
        self.names = [[words(one.path) for one in side.layers] for side in (source, target)]
        self.shared = self._shared()
        self._known: dict[tuple[int, int], bool] = {}
        self._asked: list[tuple[int, int]] = []

    def told(self, a: int, b: int) -> bool:
        """Whether something tells a and its partner from b and its."""
        key = (min(a, b), max(a, b))
        if key in self._known:
            return self._known[key]
        if key in self._asked or len(self._asked) >= DEEPEST:
            return False  # what two layers give each other as reason is none
        self._asked.append(key)
        found = self._told(*key)
        self._asked.pop()
        if found or not self._asked:  # in the midst of other questions a no may be theirs
            self._known[key] = found
        return found

    def _told(self, a: int, b: int) -> bool:
        c, d = self.pairs[a], self.pairs[b]
        mine = self.source.runs_before(a, b), self.target.runs_before(c, d)
        said = [
            _counted(names[i], names[j]) if order is None else order
            for order, names, i, j in zip(mine, self.names, (a, c), (b, d), strict=True)
        ]
        if None not in mine or (None not in said and said[0] == said[1]):
            return said[0] == said[1]
        arms, others = self.source.arms, self.target.arms
        if {a, b} <= set(arms) and {c, d} <= set(others) and arms[a] != arms[b]:
            return (arms[a], arms[b]) == (others[c], others[d])
        if self._branches(a, b) or self._neighbours(a, b):
            return True
        return None in said and self._words(a, b)

    def _branches(self, a: int, b: int) -> bool:
        c, d = self.pairs[a], self.pairs[b]
        return any(
            (a in mine) == (c in theirs) != (b in mine) == (d in theirs)
            for mine, theirs in (
                (self.source.branch, self.target.branch),
                (self.source.pooled, self.target.pooled),
            )
        )

    def _words(self, a: int, b: int) -> bool:
        first, second = (set(self.names[0][i]) & self.shared for i in (a, b))
        other, another = (set(self.names[1][self.pairs[i]]) & self.shared for i in (a, b))
        return bool(((first & other) - (second | another)) | ((second & another) - (first | other)))

    def _shared(self) -> frozenset[str]:
        """Words that partners share throughout, and more than once."""
        both: Counter[str] = Counter()
        one: Counter[str] = Counter()
        for a, b in self.pairs.items():
            mine, theirs = set(self.names[0][a]), set(self.names[1][b])
            both.update(mine & theirs)
            one.update(mine ^ theirs)
        return frozenset(
            word for word, count in both.items()
            if not word.isdigit() and word not in TYPES and not one[word]
            and (count > 1 or word in BRANCH)
        )  # fmt: skip

    def _neighbours(self, a: int, b: int) -> bool:
        """Whether what stands before or after them tells them apart."""
        c, d = self.pairs[a], self.pairs[b]
        if self._by_follower(self.source.kernel_of, self.target.kernel_of, (a, b), (c, d)):
            return True
        if self._by_follower(self.source.norm_of, self.target.norm_of, (a, b), (c, d)):
            return True
        for mine, theirs in (
            (self.source.after, self.target.after),
            (self.source.before, self.target.before),
        ):
            if self._one_sided(mine, theirs, (a, c), d) or self._one_sided(mine, theirs, (b, d), c):
                return True
        return False

    def _by_follower(
        self,
        mine: Mapping[int, int],
        theirs: Mapping[int, int],
        pair: tuple[int, int],
        other: tuple[int, int],
    ) -> bool:
        """Whether the layers of which they are norms (or whose norms they are) differ."""
        if not (self._shown(self.source, mine, pair) and self._shown(self.target, theirs, other)):
            return False
        near = [mine[i] for i in pair]
        if near[0] == near[1] or [self.pairs.get(n) for n in near] != [theirs[i] for i in other]:
            return False
        layers = self.source.layers
        return layers[near[0]].signature != layers[near[1]].signature or self.told(*near)

    def _shown(self, side: Side, of: Mapping[int, int], layers: Sequence[int]) -> bool:
        """Whether calls or names, and not the order of listing, show which norm follows which."""
        names = self.names[side is self.target]
        wired = side.graph.wired
        return all(i in of and (wired or _alike(names[i], names[of[i]])) for i in layers)

    def _one_sided(
        self,
        mine: Mapping[int, set[int]],
        theirs: Mapping[int, set[int]],
        pair: tuple[int, int],
        other: int,
    ) -> bool:
        """Whether a layer of the source has a neighbour that its partner has, and another not."""
        sign = self.target.layers
        for near in mine.get(pair[0], ()):
            partner = self.pairs.get(near)
            if partner is None or partner not in theirs.get(pair[1], ()):
                continue
            if not (self.target.graph.wired or other in theirs):
                continue
            alike = [
                n for n in theirs.get(other, ()) if sign[n].signature == sign[partner].signature
            ]
            back = {self.pairs[a]: a for a in self.pairs} if alike else {}
            if all(n != partner and n in back and self.told(near, back[n]) for n in alike):
                return True
        return False


def _alike(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether two names are one but for their class, or but for the number after it."""
    if [w for w in one if w not in TYPES] == [w for w in other if w not in TYPES]:
        return True
    numbers = [*one[-1:], *other[-1:]]
    if one[:-1] != other[:-1] or len(numbers) < 2 or not all(w.isdigit() for w in numbers):
        return False
    return abs(int(numbers[0]) - int(numbers[1])) == 1


def _counted(first: Sequence[str], second: Sequence[str]) -> bool | None:
    """Whether one name counts before another: by the first number (or letter) that differs."""
    for place in range(max(len(first), len(second))):
        a, b = (own[place] if place < len(own) else "" for own in (first, second))
        if a == b:
            continue
        if a in FIRST or b in LAST:
            return None if b in FIRST or a in LAST else True
        if b in FIRST or a in LAST:
            return False
        if a in STEPS and b in STEPS:
            return STEPS[a] < STEPS[b] if STEPS[a] != STEPS[b] else None
        if all(not one or one.isdigit() for one in (a, b)):
            return int(a or -1) < int(b or -1)
        if len(a) == len(b) == 1 and a.isalpha() and b.isalpha():
            return a < b
        return None
    return None
