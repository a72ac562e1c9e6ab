"""The edits of one file while it is rewritten, in order: those of a span are found fast.

Not here: how edits are applied (`source.text`).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from batchnorm.source import Edit

__all__ = ["Edits"]


class Edits:
    """Edits that don't overlap, by where they start."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._edits: list[Edit] = []

    def __iter__(self) -> Iterator[Edit]:
        return iter(self._edits)

    def inside(self, start: int, stop: int) -> list[Edit]:
        """Those of a span."""
        first, last = bisect_left(self._starts, start), bisect_right(self._starts, stop)
        return [edit for edit in self._edits[first:last] if edit.end <= stop]

    def add(self, edit: Edit) -> None:
        """One more, after others that start where it does."""
        place = bisect_right(self._starts, edit.start)
        self._starts.insert(place, edit.start)
        self._edits.insert(place, edit)

    def replace(self, edit: Edit) -> None:
        """One in place of all that its span has."""
        for old in self.inside(edit.start, edit.end):
            place = self._edits.index(old, bisect_left(self._starts, old.start))
            del self._starts[place], self._edits[place]
        self.add(edit)
