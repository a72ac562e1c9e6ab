"""What names of two layers of a side say: which counts before the other, and if they are alike."""

from __future__ import annotations

import re
from collections.abc import Sequence

from batchnorm.graph.adjacency import TYPES

__all__ = ["alike", "counted"]

TOKENS = re.compile(r"[._/-]")
NUMBERED = re.compile(r"([a-z]*)\d+(.*)")
FIRST = frozenset({"stem", "init", "initial", "first", "entry"})
LAST = frozenset({"head", "final", "last", "classifier", "fc", "top", "exit"})
STEPS = {"expand": 0, "expansion": 0, "depthwise": 1, "dw": 1, "squeeze": 1, "project": 2,
         "projection": 2, "pwl": 2}  # of an inverted bottleneck  # fmt: skip


def alike(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether two names are one but for their class, or but for the number after it."""
    if [w for w in one if w not in TYPES] == [w for w in other if w not in TYPES]:
        return True
    numbers = [*one[-1:], *other[-1:]]
    if one[:-1] != other[:-1] or len(numbers) < 2 or not all(w.isdigit() for w in numbers):
        return False
    return abs(int(numbers[0]) - int(numbers[1])) == 1


def counted(paths: tuple[str, str], first: Sequence[str], second: Sequence[str]) -> bool | None:
    """Whether one name counts before another; None where they don't say, or as hashes do.

    Args:
        paths: the two names.
        first: words of the one.
        second: words of the other.
    """
    return None if _hashed(*paths) else _by_numbers(first, second)


def _hashed(first: str, second: str) -> bool:
    """Whether names differ as hashes do (`m0ab172`, `m7b8398`), whose numbers count nothing."""
    for one, two in zip(*(TOKENS.split(name.lower()) for name in (first, second)), strict=False):
        if one != two:
            found = NUMBERED.fullmatch(one), NUMBERED.fullmatch(two)
            if found[0] is None or found[1] is None or found[0][1] != found[1][1]:
                return False
            letters = [re.sub(r"\d+", "0", numbered[2]) for numbered in found if numbered]
            return letters[0] != letters[1] and all("0" in rest for rest in letters)
    return False


def _by_numbers(first: Sequence[str], second: Sequence[str]) -> bool | None:
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
