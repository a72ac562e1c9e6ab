"""Which stretch of one side's layers is which piece of the other's, by shapes and order.

Pieces are blocks (by name) or segments (by calls); a stretch is a piece if both have the same
shapes, in any order. What one side has more is passed over, whole blocks first. Where an extra
block could be one of several, none of these is taken.
"""

from __future__ import annotations

import bisect
import itertools
import random
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TypeAlias

__all__ = ["Span", "Table", "aligned", "blocks"]

MATCH = 10_000  # a matched layer outweighs any number of blocks passed over
EXACT = 5  # shapes in one order, rather than another, outweigh a few blocks passed over
MOST = 1_500_000  # states; beyond these only sides without surplus are aligned
NARROW = 16  # layers that the first band reaches to each side
NEVER = -(10**15)

Span: TypeAlias = tuple[int, int]


def aligned(
    layers: Sequence[Hashable], pieces: Sequence[Sequence[Hashable]], ends: Sequence[Sequence[int]]
) -> list[Span | None]:
    """For each piece the stretch of `layers` that it is; None where it has none or several.

    Args:
        layers: the shapes of one side, in order.
        pieces: the shapes of the other side, by pieces.
        ends: for each layer, where the blocks end that begin with it.
    """
    draw = random.Random(0)
    number: dict[Hashable, int] = {}
    for shape in layers:
        number.setdefault(shape, draw.getrandbits(60))
    sums = [0]
    for shape in layers:
        sums.append(sums[-1] + number[shape])
    wanted = [sum(number.get(shape, -1) for shape in piece) for piece in pieces]
    sizes = [len(piece) for piece in pieces]

    def fits(i: int, j: int) -> int:
        """0, 1 if a stretch has the piece's shapes, 2 if in its order."""
        end = i + sizes[j]
        if end > len(layers) or sums[end] - sums[i] != wanted[j]:
            return 0
        return 2 if list(layers[i:end]) == list(pieces[j]) else 1

    straight, at = [], 0
    for j in range(len(pieces)):
        if not fits(at, j):
            break
        straight.append((at, at + sizes[j]))
        at += sizes[j]
    if len(straight) == len(pieces) and at == len(layers):
        return [*straight]
    table = Table(len(layers), sizes, fits, ends)
    if not pieces or not table.fill():
        return [None] * len(pieces)
    early, late = table.path(eager=True), table.path(eager=False)
    taken = {i for span in early if span is not None for i in range(*span)}
    passed = {shape for i, shape in enumerate(layers) if i not in taken}
    wanting = {s for p, span in zip(pieces, early, strict=True) if span is None for s in p}
    if passed & wanting:
        return [None] * len(pieces)  # not more layers on one side, but another order
    return [a if a == b else None for a, b in zip(early, late, strict=True)]


class Table:
    """The score of each rest of layers beside each rest of pieces, of those that can matter.

    In a best alignment of `n` layers with pieces of `s` layers in all, of which `k` are matched, at
    most `n - k` layers and `s - k` layers of pieces are passed over at any place. So only a band of
    states is computed, twice as wide until the score found in it says that none better leaves it.
    """

    def __init__(
        self,
        n: int,
        sizes: Sequence[int],
        fits: Callable[[int, int], int],
        ends: Sequence[Sequence[int]],
    ) -> None:
        self.n, self.m, self.sizes, self.fits, self.ends = n, len(sizes), sizes, fits, ends
        self.starts = [0, *itertools.accumulate(sizes)]
        self.states = 0
        self.rows: list[list[int]] = []
        self.first: list[int] = []

    def fill(self) -> bool:
        """Compute the scores; False if these are too many."""
        total = self.starts[-1]
        band = max(abs(self.n - total), *self.sizes, NARROW)
        while True:
            if not self._fill(band):
                return False
            least = -(-(self.score(0, 0) - EXACT * self.m) // MATCH)
            if band >= max(self.n, total) - max(least, 0):
                return True
            band *= 2

    def _fill(self, band: int) -> bool:
        self.rows = [[] for _ in range(self.n + 1)]
        self.first = [bisect.bisect_left(self.starts, i - band) for i in range(self.n + 1)]
        for i in range(self.n, -1, -1):
            last = bisect.bisect_right(self.starts, i + band) - 1
            self.states += last + 1 - self.first[i]
            if self.states > MOST:
                return False
            row = self.rows[i] = [0] * (last + 1 - self.first[i])
            for j in range(last, self.first[i] - 1, -1):
                if (i, j) != (self.n, self.m):
                    row[j - self.first[i]] = max((v for v, _ in self.options(i, j)), default=NEVER)
        return True

    def score(self, i: int, j: int) -> int:
        """What the layers from `i` on and the pieces from `j` on come to at best."""
        place = j - self.first[i]
        return self.rows[i][place] if 0 <= place < len(self.rows[i]) else NEVER

    def options(self, i: int, j: int) -> Iterator[tuple[int, tuple[int, int, bool]]]:
        """Each next step with the score it leads to, and whether it is a match."""
        if j < self.m:
            yield self.score(i, j + 1) - 1, (i, j + 1, False)
            if how := self.fits(i, j):
                end = i + self.sizes[j]
                gain = MATCH * self.sizes[j] + EXACT * (how - 1)
                yield self.score(end, j + 1) + gain, (end, j + 1, True)
        if i < self.n:
            for end in self.ends[i]:
                yield self.score(end, j) - 1, (end, j, False)

    def path(self, *, eager: bool) -> list[Span | None]:
        """The alignment with most layers and fewest blocks passed over, matching early or late."""
        found: list[Span | None] = [None] * self.m
        i = j = 0
        while (i, j) != (self.n, self.m):
            options = list(self.options(i, j))
            best = max(value for value, _ in options)
            chosen = [step for value, step in options if value == best]
            chosen.sort(key=lambda step: step[2])
            step = chosen[-1 if eager else 0]
            if step[2]:
                found[j] = (i, step[0])
            i, j = step[0], step[1]
        return found


def blocks(parts: Sequence[Sequence[str]]) -> tuple[list[Span], list[list[int]]]:
    """Layers cut into the blocks of the first level at which they differ; all blocks' ends."""
    depth = 0
    longest = max((len(p) for p in parts), default=0)
    while depth < longest and len({tuple(p[: depth + 1]) for p in parts}) == 1:
        depth += 1
    spans, start = [], 0
    for i in range(1, len(parts) + 1):
        if i == len(parts) or parts[i][: depth + 1] != parts[start][: depth + 1]:
            spans.append((start, i))
            start = i
    ends: list[list[int]] = []
    for i, own in enumerate(parts):
        found = {i + 1}
        for level in range(1, len(own)):
            if i and parts[i - 1][:level] == own[:level]:
                continue
            end = i + 1
            while end < len(parts) and parts[end][:level] == own[:level]:
                end += 1
            found.add(end)
        ends.append(sorted(found))
    return spans, ends
