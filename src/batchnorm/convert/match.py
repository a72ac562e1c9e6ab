"""Which layer of the source is which of the template: by name, by order, by shape; never by guess.

In this order: the map; the name by rule; names equal but for separators (`downsample` and
`down_sample`, `layer1.0.bn1` and `layer1_0_bn1`) or for what stands in front (`model.`); the place
in two Keras files whose groups are the same. For what then remains, order, if the two sides list
layers of the same shapes in the same order and no names speak against it; or shape, if it occurs
once on each side. Two layers of one shape whose order is no evidence stay unmatched, and the
problem names both candidates.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from batchnorm.convert.alike import contradiction, ending, plain, signature
from batchnorm.convert.groups import Group
from batchnorm.convert.mapping import Map
from batchnorm.convert.names import path_in

__all__ = ["Match", "Pairing", "match"]


@dataclass(frozen=True)
class Pairing:
    """Two layers that belong together, and why: map, name, similar name, place, order or shape."""

    source: Group
    target: Group
    why: str


@dataclass
class Match:
    """What was found: pairs in the target's order, and what is left of both sides."""

    pairs: list[Pairing] = field(default_factory=list)
    source: list[Group] = field(default_factory=list)
    target: list[Group] = field(default_factory=list)
    left_out: list[Group] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def match(
    source: Sequence[Group],
    target: Sequence[Group],
    map: Map | None = None,
    *,
    framework: str,
    orders: tuple[str, str] = ("model", "model"),
    recorded: Mapping[str, str] | None = None,
) -> Match:
    """Pair the layers of a source with those of a template.

    Args:
        source: the source's layers.
        target: the template's.
        map: pairs that the user gave.
        framework: the target's.
        orders: what the order of each side says (see `Source.order`).
        recorded: source path -> target path, as an earlier conversion wrote them.
    """
    work = _Work(list(source), list(target))
    said = map or Map()
    for group in source:
        to = said.of(group.path).to
        if to == "":
            work.leave(group)
        elif to is not None:
            work.pair_named(group, to)
    if recorded:
        work.by_key("record", lambda g: recorded.get(g.path), lambda g: g.path)
    for loose in (False, True):  # names before shapes: a bias more or less changes no name
        work.by_key("name", lambda g: path_in(g, framework), lambda g: g.path, loose=loose)
        work.by_key("similar name", lambda g: plain(g.path), lambda g: plain(g.path), loose=loose)
        if not loose:
            work.by_place()
        work.by_end(loose=loose)
    for loose in (False, True):
        work.loose = loose
        if set(orders) == {"model"}:
            work.by_order()
        elif orders in (("model", "class"), ("class", "model")):
            work.by_order_within_classes(listed="target" if orders[1] == "class" else "source")
    for loose in (False, True):
        work.loose = loose
        work.by_shape()
    result = work.result
    result.source, result.target = work.source, work.target
    if result.source and result.target:
        result.problems += _ambiguities(work.source, work.target, orders)
    order = {id(group): index for index, group in enumerate(target)}
    result.pairs.sort(key=lambda p: order[id(p.target)])
    return result


class _Work:
    """The groups not matched yet."""

    def __init__(self, source: list[Group], target: list[Group]) -> None:
        self._source, self._target, self.result = source, target, Match()
        self._done: set[int] = set()
        self.loose = False  # which shapes count as one, see `alike.signature`

    def _signature(self, group: Group) -> Hashable:
        return signature(group, loose=self.loose)

    @property
    def source(self) -> list[Group]:
        return [g for g in self._source if id(g) not in self._done]

    @property
    def target(self) -> list[Group]:
        return [g for g in self._target if id(g) not in self._done]

    def pair(self, a: Group, b: Group, why: str) -> None:
        self._done |= {id(a), id(b)}
        self.result.pairs.append(Pairing(a, b, why))

    def leave(self, group: Group) -> None:
        self._done.add(id(group))
        self.result.left_out.append(group)

    def pair_named(self, group: Group, path: str) -> None:
        named = [g for g in self.target if g.path == path]
        fitting = [g for g in named if g.kind == group.kind] or named
        if fitting:
            self.pair(group, fitting[0], "map")
        else:
            self.result.problems.append(
                f"the map sends {group.label!r} to {path!r}, which the template doesn't have "
                "(or which has its layer already)"
            )

    def by_key(
        self,
        why: str,
        a: Callable[[Group], str | None],
        b: Callable[[Group], str | None],
        *,
        loose: bool = False,
    ) -> None:
        """Pair what has one key and one signature, if the key occurs once on each side."""
        mine, theirs = _index(self.source, a, loose), _index(self.target, b, loose)
        for key, group in mine.items():
            other = theirs.get(key)
            if group is not None and other is not None:
                self.pair(group, other, why)

    def by_place(self) -> None:
        """Pair what stands in one group of two Keras files, if the files' groups are the same."""

        def place(group: Group) -> Hashable:
            return (group.facts.get("path"), group.part, signature(group))

        mine, theirs = ({place(g): g for g in side} for side in (self._source, self._target))
        known = all(g.facts.get("path") for g in (*self._source, *self._target))
        if known and mine.keys() == theirs.keys() and len(mine) == len(self._source):
            left = {id(g) for g in self.target}
            for key, group in mine.items():
                if id(group) not in self._done and id(theirs[key]) in left:
                    self.pair(group, theirs[key], "place")

    def by_end(self, *, loose: bool = False) -> None:
        """Pair names of which one is the other's end, as `model.layer1.bn` and `layer1.bn`.

        Only where that holds for one layer on each side: an average's copy (`model_ema.…`) of a
        layer ends as the layer does.
        """
        found = [*ending(self.source, self.target, loose=loose)]
        found += [(a, b) for b, a in ending(self.target, self.source, loose=loose)]
        mine, theirs = (Counter(id(pair[side]) for pair in found) for side in (0, 1))
        for a, b in found:
            if mine[id(a)] == theirs[id(b)] == 1:
                self.pair(a, b, "similar name")

    def by_order(self) -> None:
        """Pair what remains if both sides list the same shapes in the same order.

        What has a shape that the other side doesn't have, such as another head, is left out, and
        so are shapes of layers whose place isn't known.
        """
        sign = self._signature
        common = {sign(g) for g in self.source} & {sign(g) for g in self.target}
        common -= {sign(g) for g in (*self.source, *self.target) if not g.placed}
        self._pair_in_order(_in_order(self.source, self.target, common, sign) or [])

    def by_order_within_classes(self, listed: str) -> None:
        """The same class by class, as one side lists its layers so.

        Shapes that occur in two classes are left out: theirs is no one order. And if one class
        is in another order than the other side has it, so may all be, unseen where shapes are one.
        """
        by_class, others = self.target, self.source
        if listed == "source":
            by_class, others = others, by_class
        classes: dict[str, list[Group]] = defaultdict(list)
        for group in by_class:
            classes[group.class_name].append(group)
        sign = self._signature
        shapes = {name: {sign(g) for g in groups} for name, groups in classes.items()}
        elsewhere = {sign(g) for g in others}
        pairs: list[tuple[Group, Group]] = []
        for name, groups in classes.items():
            shared = set().union(*(s for other, s in shapes.items() if other != name))
            if not name or shapes[name] & shared & elsewhere:
                continue
            sides = (others, groups) if listed == "target" else (groups, others)
            found = _in_order(*sides, shapes[name] & elsewhere, sign)
            if found is None:
                return
            pairs += found
        self._pair_in_order(pairs)

    def _pair_in_order(self, pairs: Sequence[tuple[Group, Group]]) -> None:
        against = contradiction(pairs)
        if against:
            self.result.problems.append(against)
            return
        for a, b in pairs:
            self.pair(a, b, "order")

    def by_shape(self) -> None:
        """Pair what has a shape that no other layer has, among those that remain."""
        sign = self._signature
        mine, theirs = _by_signature(self.source, sign), _by_signature(self.target, sign)
        for key, groups in mine.items():
            if len(groups) == 1 and len(theirs.get(key, ())) == 1:
                self.pair(groups[0], theirs[key][0], "shape")


def _in_order(
    source: Sequence[Group],
    target: Sequence[Group],
    shapes: set[Hashable],
    sign: Callable[[Group], Hashable],
) -> list[tuple[Group, Group]] | None:
    """The layers of these shapes, one by one; None if the two sides list them differently."""
    mine = [g for g in source if sign(g) in shapes]
    theirs = [g for g in target if sign(g) in shapes]
    if [sign(g) for g in mine] != [sign(g) for g in theirs]:
        return None
    return list(zip(mine, theirs, strict=True))


def _index(
    groups: Sequence[Group], key: Callable[[Group], str | None], loose: bool
) -> dict[Hashable, Group | None]:
    found: dict[Hashable, Group | None] = {}
    for group in groups:
        name = key(group)
        if name is not None:
            place = (name, signature(group, loose=loose))
            found[place] = None if place in found else group
    return found


def _by_signature(
    groups: Sequence[Group], sign: Callable[[Group], Hashable]
) -> dict[Hashable, list[Group]]:
    found: dict[Hashable, list[Group]] = defaultdict(list)
    for group in groups:
        found[sign(group)].append(group)
    return found


def _ambiguities(
    source: Sequence[Group], target: Sequence[Group], orders: tuple[str, str]
) -> list[str]:
    """Why what remains was not matched, one sentence per shape."""
    found = []
    mine, theirs = _by_signature(source, signature), _by_signature(target, signature)
    reason = "the two sides list their layers in different orders"
    if "none" in orders:
        reason = "one of the files isn't in the model's order (a safetensors file is sorted by "
        reason += "name, Keras's without a config of its layers by name and nesting)"
    elif any(not g.placed for g in (*source, *target)):
        reason = "the template's config doesn't list them, or the two sides' orders differ"
    elif "class" in orders:
        reason = "a .weights.h5 without config lists its layers by class; a .keras file says more"
    for key, groups in mine.items():
        if key in theirs:
            names = [", ".join(repr(g.label) for g in side[:6]) for side in (groups, theirs[key])]
            why = reason
            if len(groups) != len(theirs[key]):
                why = f"they are {len(groups)} here and {len(theirs[key])} there"
            found.append(f"{names[0]} could each be {names[1]}: {why}; give the pairs (--map)")
    return found
