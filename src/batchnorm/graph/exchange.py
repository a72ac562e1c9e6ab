"""Which pairs of a matching could be exchanged without contradicting anything that is known.

Two layers of one shape have their partners for a reason, if one of these tells them apart on both
sides: one runs before the other (calls), or their names count so (`conv1`, `conv2`); a branch, a
pooling before it, or its place in a concatenation; a word that partners share throughout; the
layers before and after them, if these have a reason; layers that stand beside one of them on both
sides, and not beside the other (`nearness`), where a side's calls are known. The order in which a
side lists its layers alone is none: a model may make them in another.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TypeAlias

from batchnorm.graph.adjacency import BRANCH, TYPES, words
from batchnorm.graph.counting import alike, counted
from batchnorm.graph.graph import Layer
from batchnorm.graph.nearness import Nearness
from batchnorm.graph.side import Side

__all__ = ["exchangeable"]

Two: TypeAlias = tuple[int, int]
NOTHING: frozenset[Two] = frozenset()

REACH = 12  # neighbours in the order of a side that each layer is compared with


def exchangeable(
    source: Side, target: Side, pairs: Mapping[int, int], settled: Collection[int]
) -> list[Two]:
    """Pairs of layers of the source whose partners could be each other's.

    Args:
        source: one side.
        target: the other.
        pairs: source layer -> target layer.
        settled: layers of the source whose partner the map, or their name, says.
    """
    classes: dict[object, list[int]] = {}
    for a in pairs:
        if a not in settled:
            classes.setdefault(source.layers[a].signature, []).append(a)
    asked: set[Two] = set()
    for own in classes.values():
        for rank in (lambda a: a, lambda a: pairs[a]):
            listed = sorted(own, key=rank)
            for place, a in enumerate(listed):
                asked.update(_two(a, b) for b in listed[place + 1 : place + 1 + REACH])
    return sorted(asked - _Reasons(source, target, pairs).told(asked))


def _two(a: int, b: int) -> Two:
    return min(a, b), max(a, b)


class _Reasons:
    """What tells two pairs apart."""

    def __init__(self, source: Side, target: Side, pairs: Mapping[int, int]) -> None:
        self.source, self.target, self.pairs = source, target, pairs
        self.back = {b: a for a, b in pairs.items()}
        self.names = [[words(one.path) for one in side.layers] for side in (source, target)]
        self.shared = self._shared()
        self.near = Nearness(source), Nearness(target)
        # Two sets of names can agree on what stands together and both mislead.
        self.wired = source.graph.wired or target.graph.wired
        self.sole = _sole_norms(source), _sole_norms(target)
        self.disordered = self._disordered()

    def told(self, asked: Collection[Two]) -> set[Two]:
        """Those that something tells apart, be it that others are told apart that have a reason.

        What two layers give each other as reason is none: only what follows from reasons of its own
        is found.
        """
        waiting: dict[Two, list[tuple[Two, set[Two]]]] = {}
        seen, told, queue = set(asked), set[Two](), list(asked)
        done: list[Two] = []
        while queue:
            two = queue.pop()
            for reason in self._reasons(*two):
                if not reason:
                    done.append(two)
                    break
                left = set(reason)
                for other in reason:
                    waiting.setdefault(other, []).append((two, left))
                    if other not in seen:
                        seen.add(other)
                        queue.append(other)
        while done:
            two = done.pop()
            if two in told:
                continue
            told.add(two)
            for then, left in waiting.get(two, ()):
                left.discard(two)
                if not left:
                    done.append(then)
        return told

    def _reasons(self, a: int, b: int) -> list[frozenset[Two]]:
        """Each reason as what must be told apart for it; one that needs nothing is enough."""
        c, d = self.pairs[a], self.pairs[b]
        calls, said = self._said(a, b)
        same = None not in said and said[0] == said[1]
        if calls == 2 or (same and not {a, b} & self.disordered):
            return [NOTHING] if said[0] == said[1] else []
        if calls and None not in said and not same:
            return []  # calls of one side, and against them numbers of the other
        arms, others = self.source.arms, self.target.arms
        if {a, b} <= set(arms) and {c, d} <= set(others) and arms[a] != arms[b]:
            return [NOTHING] if (arms[a], arms[b]) == (others[c], others[d]) else []
        if self._branches(a, b):
            return [NOTHING]
        beside, against = self._beside(a, b)
        if None in said and not against and self._words(a, b):
            return [NOTHING]
        return [*self._neighbours(a, b), *(beside if self.wired else [])]

    def _said(self, a: int, b: int) -> tuple[int, list[bool | None]]:
        """On how many sides calls say which runs first; and what calls, or else names, say."""
        mine = self.source.runs_before(a, b), self.target.runs_before(self.pairs[a], self.pairs[b])
        said = list(mine)
        sides = (self.source, self.target)
        for n, (side, i, j) in enumerate(
            zip(sides, (a, self.pairs[a]), (b, self.pairs[b]), strict=True)
        ):
            if said[n] is None:
                paths = side.layers[i].path, side.layers[j].path
                said[n] = counted(paths, self.names[n][i], self.names[n][j])
        return len(mine) - mine.count(None), said

    def _disordered(self) -> frozenset[int]:
        """Layers that one side counts before, the other after, one of their kind in another shape.

        Where two sides count in different orders, numbers tell nothing: `conv1` and `conv3` of one
        may be the third and the first branch of the other.
        """
        layers, found = self.source.layers, set[int]()
        for rank in (lambda a: a, lambda a: self.pairs[a]):
            listed = sorted(self.pairs, key=rank)
            for place, a in enumerate(listed):
                for b in listed[place + 1 : place + 1 + REACH]:
                    if (
                        layers[a].signature == layers[b].signature
                        or layers[a].kind != layers[b].kind
                    ):
                        continue
                    said = self._said(a, b)[1]
                    if None not in said and said[0] != said[1]:
                        found |= {a, b}
        norms = {norm for norm, kernel in self.source.kernel_of.items() if kernel in found}
        return frozenset(found | norms)  # norms have one shape, and count as their kernels

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
        """Words that partners share throughout, and more than once; a norm has its kernel's."""
        both: Counter[str] = Counter()
        one: Counter[str] = Counter()
        for a, b in self.pairs.items():
            mine, theirs = set(self.names[0][a]), set(self.names[1][b])
            if self.pairs.get(self.source.kernel_of.get(a, a)) != self.target.kernel_of.get(b):
                both.update(mine & theirs)
            one.update(mine ^ theirs)
        return frozenset(
            word for word, count in both.items()
            if not word.isdigit() and word not in TYPES and not one[word]
            and (count > 1 or word in BRANCH)
        )  # fmt: skip

    def _neighbours(self, a: int, b: int) -> Iterator[frozenset[Two]]:
        """Reasons by what stands before or after them."""
        c, d = self.pairs[a], self.pairs[b]
        yield from self._by_follower(self.source.kernel_of, self.target.kernel_of, (a, b), (c, d))
        yield from self._by_follower(self.source.norm_of, self.target.norm_of, (a, b), (c, d))
        for mine, theirs in (
            (self.source.after, self.target.after),
            (self.source.before, self.target.before),
        ):
            yield from self._one_sided(mine, theirs, (a, c), d)
            yield from self._one_sided(mine, theirs, (b, d), c)
        for i in (a, b):
            yield from self._by_sole_norm(i)

    def _by_sole_norm(self, norm: int) -> Iterator[frozenset[Two]]:
        """A reason by a kernel whose norm it is, by width on one side and by name on the other."""
        other, layers = self.pairs[norm], self.source.layers
        kernel, its = self.source.kernel_of.get(norm), self.target.kernel_of.get(other)
        if kernel is None or its is None or self.pairs.get(kernel) != its:
            return
        sole = [norm in self.sole[0], other in self.sole[1]]
        shown = [
            self._shown(self.source, self.source.kernel_of, [norm]),
            self._shown(self.target, self.target.kernel_of, [other]),
        ]
        if any(sole) and all(a or b for a, b in zip(sole, shown, strict=True)):
            sign = layers[kernel].signature
            rivals = [k for k in self.pairs if layers[k].signature == sign and k != kernel]
            yield frozenset(_two(kernel, k) for k in rivals)

    def _beside(self, a: int, b: int) -> tuple[list[frozenset[Two]], bool]:
        """Reasons by layers that stand nearer to one of them on both sides; and what is against.

        Against is a layer in one module with one of them, or one call away, whose partner is so
        with the other's: it takes all reasons. Layers less near take those of their like only.
        """
        c, d = self.pairs[a], self.pairs[b]
        found: dict[bool, list[frozenset[Two]]] = {True: [], False: []}
        against = {True: False, False: False}
        for one in {*self.near[0].around(a), *self.near[0].around(b)} - {a, b}:
            if one not in self.pairs:
                continue
            mine, close = self.near[0].nearest(one, (a, b))
            theirs, also_close = self.near[1].nearest(self.pairs[one], (c, d))
            if mine is None or theirs is None:
                continue
            if self.pairs[mine] != theirs:
                against[close and also_close] = True
            else:
                rivals = self._rivals(one, mine, b if mine == a else a)
                found[close and also_close].append(rivals)
        if against[True]:
            return [], True
        return found[True] if against[False] else [*found[True], *found[False]], False

    def _rivals(self, one: int, own: int, other: int) -> frozenset[Two]:
        """The layers that stand beside another layer as this one does beside its own."""
        sign, near = self.source.layers, self.near[0]
        return frozenset(
            _two(one, two)
            for two in near.around(other)
            if two in self.pairs and two not in (one, own)
            and sign[two].signature == sign[one].signature
            and near.nearest(two, (own, other))[0] == other
        )  # fmt: skip

    def _by_follower(
        self,
        mine: Mapping[int, int],
        theirs: Mapping[int, int],
        pair: Two,
        other: Two,
    ) -> Iterator[frozenset[Two]]:
        """A reason by the layers of which they are norms (or whose norms they are)."""
        if not (self._shown(self.source, mine, pair) and self._shown(self.target, theirs, other)):
            return
        near = [mine[i] for i in pair]
        if near[0] == near[1] or [self.pairs.get(n) for n in near] != [theirs[i] for i in other]:
            return
        layers = self.source.layers
        alike = layers[near[0]].signature == layers[near[1]].signature
        yield frozenset({_two(*near)}) if alike else NOTHING

    def _shown(self, side: Side, of: Mapping[int, int], layers: Sequence[int]) -> bool:
        """Whether calls or names, and not the order of listing, show which norm follows which."""
        names = self.names[side is self.target]
        wired = side.graph.wired
        return all(i in of and (wired or alike(names[i], names[of[i]])) for i in layers)

    def _one_sided(
        self, mine: Mapping[int, set[int]], theirs: Mapping[int, set[int]], pair: Two, other: int
    ) -> Iterator[frozenset[Two]]:
        """Reasons by neighbours of a layer of the source that its partner has, and another not."""
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
            if all(n != partner and n in self.back for n in alike):
                yield frozenset(_two(near, self.back[n]) for n in alike)


def _sole_norms(side: Side) -> frozenset[int]:
    """Norms that can't be but their kernel's, by the widths of the layers in their module.

    That is a stem's: the kernel takes another width than it puts out (three channels, which divide
    no number of groups), and the module has no other norm or kernel of the norm's width.
    """
    modules: dict[tuple[str, ...], list[int]] = {}
    for i, layer in enumerate(side.layers):
        modules.setdefault(tuple(re.split(r"[./]", layer.path)[:-1]), []).append(i)
    found = set()
    for module in modules.values():
        widths = {i: {side.layers[i].width, *_widths(side.layers[i])} for i in module}
        for norm in module:
            kernel, out = side.kernel_of.get(norm), side.layers[norm].width
            if kernel not in widths or out is None or side.layers[kernel].width != out:
                continue
            _, taken, *_ = *_widths(side.layers[kernel]), 1, 1
            others = (own for i, own in widths.items() if i not in (norm, kernel))
            if out % taken != 0 and not any(out in own for own in others):
                found.add(norm)
    return frozenset(found)


def _widths(layer: Layer) -> tuple[int, ...]:
    """The widths that a kernel's shape has, which any of its inputs may have."""
    found = layer.signature[1] if isinstance(layer.signature, tuple) else ()
    return tuple(found[:2]) if isinstance(found, tuple) else ()
