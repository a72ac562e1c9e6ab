"""Which stretch of one side's layers is which piece of the other's, by shapes and order.

Pieces are blocks (by name) or segments (by calls); a stretch is a piece if both have the same
shapes, in any order. What one side has more is passed over, whole blocks first. Where an extra
block could be one of several, none of these is taken.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Sequence
from typing import TypeAlias

__all__ = ["Span", "aligned", "blocks"]

MATCH = 10_000  # a matched layer outweighs any number of blocks passed over
EXACT = 5  # shapes in one order, rather than another, outweigh a few blocks passed over
MOST = 1_500_000  # states; beyond these only sides without surplus are aligned

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
    if len(layers) * len(pieces) > MOST:
        return [None] * len(pieces)
    early = _best(len(layers), len(pieces), sizes, fits, ends, eager=True)
    late = _best(len(layers), len(pieces), sizes, fits, ends, eager=False)
    taken = {i for span in early if span is not None for i in range(*span)}
    passed = {shape for i, shape in enumerate(layers) if i not in taken}
    wanting = {s for p, span in zip(pieces, early, strict=True) if span is None for s in p}
    if passed & wanting:
        return [None] * len(pieces)  # not more layers on one side, but another order
    return [a if a == b else None for a, b in zip(early, late, strict=True)]


def _best(
    n: int,
    m: int,
    sizes: Sequence[int],
    fits: Callable[[int, int], int],
    ends: Sequence[Sequence[int]],
    *,
    eager: bool,
) -> list[Span | None]:
    """The alignment with most layers and fewest blocks passed over, matching early or late."""
    score = [[0] * (m + 1) for _ in range(n + 1)]
    move: list[list[tuple[int, int, bool] | None]] = [[None] * (m + 1) for _ in range(n + 1)]
    for i in range(n, -1, -1):
        row = score[i]
        for j in range(m, -1, -1):
            if i == n and j == m:
                continue
            options: list[tuple[int, tuple[int, int, bool]]] = []
            if j < m:
                options.append((row[j + 1] - 1, (i, j + 1, False)))
                if how := fits(i, j):
                    end = i + sizes[j]
                    value = score[end][j + 1] + MATCH * sizes[j] + EXACT * (how - 1)
                    options.append((value, (end, j + 1, True)))
            if i < n:
                options += [(score[end][j] - 1, (end, j, False)) for end in ends[i]]
            best = max(value for value, _ in options)
            chosen = [step for value, step in options if value == best]
            chosen.sort(key=lambda step: step[2])
            row[j], move[i][j] = best, chosen[-1 if eager else 0]
    found: list[Span | None] = [None] * m
    i = j = 0
    while (i, j) != (n, m):
        step = move[i][j]
        assert step is not None
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
