"""`compare`: two checkpoints of any formats and frameworks, layer by layer, in canonical terms.

Layers are matched as for a conversion; arrays are brought into the first one's layout and compared
piece by piece. What one side has no place for (a counter, a gamma of 1) is no difference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from batchnorm.checkpoints import Entry
from batchnorm.convert.chunk_pairs import chunk_pairs
from batchnorm.convert.comparison import Comparison, Difference, Kind
from batchnorm.convert.groups import Group
from batchnorm.convert.layout import Step, step
from batchnorm.convert.ledger import is_neutral
from batchnorm.convert.mapping import LayerPair, Map, read_map
from batchnorm.convert.match import match
from batchnorm.convert.names import roles_in
from batchnorm.convert.record import Record
from batchnorm.convert.settings import known_settings
from batchnorm.convert.source import Readable, Source, opened, source_of
from batchnorm.convert.structure import graph_of
from batchnorm.convert.tied_weights import twin
from batchnorm.errors import InvalidValue

__all__ = ["compare"]


def compare(
    a: Readable,
    b: Readable,
    *,
    frameworks: tuple[str | None, str | None] = (None, None),
    map: Any = None,
    atol: float = 0.0,
    rtol: float = 0.0,
) -> Comparison:
    """Compare two checkpoints or live models, in any formats, layer by layer.

    Args:
        a: a file, a mapping of names to arrays, or a live model.
        b: the other one.
        frameworks: whose names they have, where they don't say so.
        map: pairs of layers of A and B, as for `convert`.
        atol: differences up to this are none.
        rtol: nor are those up to this times the largest absolute value of A's array.

    Returns:
        A `Comparison`: differences in the order of A's layers.

    Raises:
        CheckpointError: a file is bad.

    Example:
        >>> import numpy as np, batchnorm as bn
        >>> torch = {"n.running_mean": np.zeros(2), "n.running_var": np.ones(2)}
        >>> keras = {"n/moving_mean": np.zeros(2), "n/moving_variance": np.array([1, 1.5])}
        >>> [(d.layer, d.role, d.largest) for d in bn.compare(torch, keras).differences]
        [('n', 'running_var', 0.5)]
    """
    for name, value in (("atol", atol), ("rtol", rtol)):
        if not 0 <= value < math.inf:
            raise InvalidValue(f"{name} must be a number from 0, but got {value}")
    with opened(a) as first, opened(b) as second:
        left = source_of(first, frameworks[0], parameters=second)
        right = source_of(second, frameworks[1], parameters=first)
        pairs = read_map(map)
        result = Comparison(left.name, right.name, (left.framework, right.framework))
        found = match(
            right.groups,
            left.groups,
            _reversed(pairs),
            framework=left.framework,
            orders=(right.order, left.order),
            recorded=_recorded(right, left),
            graphs=(graph_of(right), graph_of(left)),
        )
        result.notes += found.problems
        work = _Work(left, right, (atol, rtol), result)
        by_layer = {id(p.target): p.source for p in found.pairs}
        for group in left.groups:
            other = by_layer.get(id(group))
            if other is not None:
                work.compare(group, other, pairs.of(group.path).flatten)
            elif not twin(group, [p.target for p in found.pairs]):
                result.differences += [_alone(group, r, e, "A") for r, e in group.members.items()]
        for group in found.source:
            if not twin(group, [p.source for p in found.pairs]):
                result.differences += [_alone(group, r, e, "B") for r, e in group.members.items()]
        return result


def _reversed(map: Map) -> Map:
    return Map({p.to: LayerPair(name) for name, p in map.layers.items() if p.to})


def _recorded(source: Source, other: Source) -> Mapping[str, str] | None:
    """Which layer of `other` each layer of `source` came from, if one was made from the other."""
    own, its = Record.of(source.ours), Record.of(other.ours)
    if own.source == other.framework and own.paths:
        return own.paths
    if its.source == source.framework and its.paths:
        return {old: new for new, old in its.paths.items()}
    return None


def _alone(group: Group, role: str, entry: Entry, side: Literal["A", "B"]) -> Difference:
    kind: Kind = "only in A" if side == "A" else "only in B"
    names = (entry.name, None) if side == "A" else (None, entry.name)
    return Difference(group.label, role, kind, *names)


class _Work:
    """Compares layer by layer, in the terms of the first of two checkpoints."""

    def __init__(
        self, left: Source, right: Source, tolerance: tuple[float, float], result: Comparison
    ) -> None:
        self.left, self.right = left, right
        self.tolerance, self.result = tolerance, result
        self.records = (Record.of(left.ours), Record.of(right.ours))

    def compare(self, a: Group, b: Group, flatten: tuple[int, ...]) -> None:
        """Compare two layers that belong together."""
        for role, entry in a.members.items():
            if role in b.members:
                self._compare_arrays(a, b, role, flatten if role == "weight" else ())
            elif not self._placeless(a, role, entry, self.right):
                self.result.differences.append(_alone(a, role, entry, "A"))
        for role, entry in b.members.items():
            if role not in a.members and not self._placeless(b, role, entry, self.left):
                self.result.differences.append(_alone(b, role, entry, "B"))
        if a.kind == "batch_norm":
            self._compare_settings(a, b)

    def _compare_arrays(self, a: Group, b: Group, role: str, flatten: tuple[int, ...]) -> None:
        entry, other = a.members[role], b.members[role]
        try:
            move = self._recorded_step(a, b, role) or step(
                b, role, a.framework, form=a.form, shape=entry.shape, flatten=flatten
            )
        except InvalidValue:
            detail = f"{entry.shape} and {other.shape}"
            self.result.differences.append(
                Difference(a.label, role, "shape", entry.name, other.name, detail=detail)
            )
            return
        found = _different(entry, move.apply(other, other.name), self.tolerance)
        if found is None:
            self.result.equal += 1
            return
        self.result.differences.append(
            Difference(a.label, role, "values", entry.name, other.name, *found)
        )

    def _placeless(self, group: Group, role: str, entry: Entry, other: Source) -> bool:
        """Whether the other side does without this array: it has no place for it, or needs none."""
        if group.kind == "batch_norm" and role not in ("gamma", "beta"):
            return role == "count" or role not in roles_in(other.framework)
        return is_neutral(role, entry)

    def _recorded_step(self, a: Group, b: Group, role: str) -> Step | None:
        """The step that an earlier conversion between the two wrote down, such as permuted rows."""
        mine, theirs = a.members[role], b.members[role]
        own = self.records[1].names.get(theirs.name)
        if own is not None and own[0] == mine.name and own[1] is not None:
            return own[1] if own[1].shape == mine.shape else None
        its = self.records[0].names.get(mine.name)
        if its is not None and its[0] == theirs.name and its[1] is not None:
            return its[1].inverse(mine.shape) if its[1].shape == theirs.shape else None
        return None

    def _compare_settings(self, a: Group, b: Group) -> None:
        framework = self.left.framework
        own = known_settings(a, self.left.ours, {}).words(framework)
        other = known_settings(b, self.right.ours, {}).words(framework)
        for name in own:
            if name in other and own[name] != other[name]:
                detail = f"{name}={own[name]} and {other[name]} (in {framework}'s words)"
                self.result.differences.append(
                    Difference(a.label, name, "settings", None, None, detail=detail)
                )


def _different(
    a: Entry, b: Entry, tolerance: tuple[float, float]
) -> tuple[float, float, int, tuple[int, ...]] | None:
    """(largest, relative, how many, where), or None if none is beyond the tolerance."""
    largest, top, count, at, done = -1.0, 0.0, 0, 0, 0
    for p, q in chunk_pairs(a, b):
        wide = np.complex128 if "c" in (p.dtype.kind, q.dtype.kind) else np.float64
        x, y = p.astype(wide), q.astype(wide)
        with np.errstate(invalid="ignore", over="ignore"):
            gap = np.abs(x - y)
        exact = p.dtype.kind in "iub" and q.dtype.kind in "iub"  # float64 holds 53 bits of them
        same = (p == q) if exact else (x == y) | (np.isnan(x) & np.isnan(y))
        if exact:
            gap[~same & (gap == 0)] = 1.0
        gap[same] = 0.0
        gap[np.isnan(gap)] = np.inf
        finite = np.abs(x[np.isfinite(x)])
        top = max(top, float(finite.max(initial=0.0)))
        count += int((gap > 0).sum())
        if gap.size and gap.max() > largest:
            largest, at = float(gap.max()), done + int(gap.argmax())
        done += gap.size
    if largest <= tolerance[0] + tolerance[1] * top:
        return None
    relative = largest / top if top else math.inf
    where = tuple(int(i) for i in np.unravel_index(at, a.shape)) if a.shape else ()
    return largest, relative, count, where
