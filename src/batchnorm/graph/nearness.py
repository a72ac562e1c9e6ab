"""Which layers of one side stand together: in one module by their names, or next to each other.

Two models may list and name their layers otherwise; what stands together in one of them stands
together in the other. A module is what names have in common: their parts, and within a part what
comes before its last number (`branch3x3_1`, `branch3x3_2a`). Where calls are known, these say it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Sequence

from batchnorm.graph.side import DIRECTLY, Side

__all__ = ["Nearness"]

WINDOW = 12  # layers of a module to each side of one, by their order, that are asked
NUMBERED = re.compile(r"(?!.*(?:conv|norm|pool|bn)[123]d$)(.*\D)?(\d+)([a-z]?)", re.IGNORECASE)
TOGETHER = 1  # in one segment, by calls
NORM_OF = (99, True)
APART = 2  # of a name's tokens, those in which layers beside each other may differ
FAR = (0, False)


class Nearness:
    """How near layers of one side are to each other."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.wired = side.graph.wired
        self.segment = {i: -1 - i for i in range(len(side.layers))}
        for number, one in enumerate(side.segments):
            self.segment.update(dict.fromkeys(one.layers, number))
        parts = [] if self.wired else [side.parts(i) for i in range(len(side.layers))]
        self.parents = [tuple(own[:-1]) for own in parts]
        self.tokens = [_tokens(own) for own in parts]
        self.members: dict[tuple[str, ...], list[int]] = defaultdict(list)
        self.place: dict[tuple[tuple[str, ...], int], int] = {}
        self._around: dict[int, set[int]] = {}
        for layer in range(len(parts)):
            for key in self._modules(layer):
                self.place[key, layer] = len(self.members[key])
                self.members[key].append(layer)

    def level(self, one: int, other: int) -> tuple[int, bool]:
        """The higher, the nearer; and whether it's one module, or one call after the other."""
        if self.wired:
            how = self.side.touching.get(one, {}).get(other)
            if how is not None:
                return how, how == DIRECTLY
            return (TOGETHER, False) if self.segment[one] == self.segment[other] else FAR
        if one in (self.side.kernel_of.get(other), self.side.norm_of.get(other)):
            return NORM_OF
        shared = 0
        for a, b in zip(self.tokens[one], self.tokens[other], strict=False):
            if a != b:
                break
            shared += 1
        same_parent = self.parents[one] == self.parents[other]
        if not same_parent and shared < min(len(self.tokens[i]) for i in (one, other)) - APART:
            return FAR
        return shared, same_parent

    def nearest(self, one: int, among: Collection[int]) -> tuple[int | None, bool]:
        """The layer among these that is nearer to another than the rest, if one is; see `level`."""
        levels = sorted(((self.level(one, other), other) for other in among), reverse=True)
        if levels[0][0] == FAR or (len(levels) > 1 and levels[0][0] == levels[1][0]):
            return None, False
        return levels[0][1], levels[0][0][1]

    def around(self, layer: int) -> Collection[int]:
        """Layers that stand near one."""
        if self.wired:
            return self.side.touching.get(layer, ())
        if layer not in self._around:
            found: set[int] = set()
            for key in self._modules(layer):
                place = self.place[key, layer]
                found.update(self.members[key][max(0, place - WINDOW) : place + WINDOW + 1])
            self._around[layer] = found - {layer}
        return self._around[layer]

    def _modules(self, layer: int) -> list[tuple[str, ...]]:
        own = self.tokens[layer]
        return [("", *self.parents[layer]), *(own[:n] for n in range(len(own) - 1, 0, -1))]


def _tokens(parts: Sequence[str]) -> tuple[str, ...]:
    """A path's parts, each cut before and after its last number: `branch`, `2`, `a`."""
    found: list[str] = []
    for part in parts:
        numbered = NUMBERED.fullmatch(part)
        found += [part] if numbered is None else [text for text in numbered.groups() if text]
    return tuple(found)
