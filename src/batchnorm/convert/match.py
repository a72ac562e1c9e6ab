"""Which layer of the source is which of the template: by all that is known, never by guess.

In this order: the map; an earlier conversion's record; names that are equal, or equal but for
separators or for one prefix, where such names explain most layers; the place in two Keras files
whose groups are the same. What remains is matched as two graphs (`batchnorm.graph.matching`). A
batch norm goes with its convolution: a pair that contradicts that is not made. Where layers of one
shape could be exchanged they stay unmatched, and the problem names a pair that would settle it.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from batchnorm.convert.ambiguities import ambiguities, folded_there
from batchnorm.convert.groups import Group, separator
from batchnorm.convert.mapping import Map
from batchnorm.convert.names import path_in
from batchnorm.convert.signatures import contradiction, plain, signature
from batchnorm.convert.structure import layer_of
from batchnorm.graph import Graph
from batchnorm.graph.exchange import exchangeable
from batchnorm.graph.matching import match_graphs
from batchnorm.graph.side import Side

__all__ = ["Match", "Pairing", "match"]

SETTLED = ("map", "record", "name", "similar name", "place")


@dataclass(frozen=True)
class Pairing:
    """Two layers that belong together, and why.

    `why`: map, record, name, similar name, place, evidence (neighbours, branches, numbers and
    words), order or shape.
    """

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
    doubts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def match(
    source: Sequence[Group],
    target: Sequence[Group],
    map: Map | None = None,
    *,
    framework: str,
    orders: tuple[str, str] = ("model", "model"),
    recorded: Mapping[str, str] | None = None,
    graphs: tuple[Graph, Graph] | None = None,
) -> Match:
    """Pair the layers of a source with those of a template.

    Args:
        source: the source's layers.
        target: the template's.
        map: pairs that the user gave.
        framework: the target's.
        orders: what the order of each side says (see `Source.order`).
        recorded: source path -> target path, as an earlier conversion wrote them.
        graphs: their structures, where more is known than the names.
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
    sides = _sides(source, target, graphs, orders)
    work.wired = all(side.graph.wired for side in sides)
    work.by_names(framework)
    for pairing, _ in _contradictions(work, sides):
        if pairing.why == "similar name":
            work.take_back(pairing)
    ordered = all(
        side.graph.wired or order == "model" for side, order in zip(sides, orders, strict=True)
    )
    if ordered:
        work.by_structure(sides, ordered=True)
    elif orders in (("model", "class"), ("class", "model")):
        for loose in (False, True):
            work.loose = loose
            work.by_order_within_classes(listed="target" if orders[1] == "class" else "source")
    work.by_structure(sides, ordered=False)
    result = work.result
    _without_contradictions(work, sides)
    result.source, result.target = work.source, work.target
    _by_listing_alone(work, sides)
    if result.source:
        result.problems += folded_there(source, target)
    if result.source and result.target:
        result.problems += ambiguities((work.source, work.target), sides, work.places(), orders)
    order = {id(group): index for index, group in enumerate(target)}
    result.pairs.sort(key=lambda p: order[id(p.target)])
    return result


def _sides(
    source: Sequence[Group],
    target: Sequence[Group],
    graphs: tuple[Graph, Graph] | None,
    orders: tuple[str, str],
) -> tuple[Side, Side]:
    sides = []
    for index, groups in enumerate((source, target)):
        graph = Graph([layer_of(g) for g in groups], order=orders[index])
        if graphs is not None and graphs[index].wired:
            graph.steps, graph.origin = graphs[index].steps, graphs[index].origin
        framework = groups[0].framework if groups else ""
        sides.append(Side(graph, separator(framework)))
    return sides[0], sides[1]


def _contradictions(work: _Work, sides: tuple[Side, Side]) -> list[tuple[Pairing, Pairing]]:
    """Pairs of batch norms that contradict those of the layers before them, which come second."""
    partner = {id(p.source): p for p in work.result.pairs}
    places = work.places()
    found = []
    for norm, kernel in sides[0].kernel_of.items():
        one, two = partner.get(id(work.all[0][norm])), partner.get(id(work.all[0][kernel]))
        if one is None or two is None:
            continue
        expected = sides[1].kernel_of.get(places[1][id(one.target)])
        if expected is not None and expected != places[1][id(two.target)]:
            found.append((one, two))
    return found


def _without_contradictions(work: _Work, sides: tuple[Side, Side]) -> None:
    """Take back such pairs; equal names outweigh layers that only seem to follow each other."""
    for one, two in _contradictions(work, sides):
        if one.why != "map" and (work.wired or one.why not in ("record", "name")):
            work.take_back(one)
            work.result.problems.append(
                f"{one.source.label!r} would be {one.target.label!r}, but the layer before it, "
                f"{two.source.label!r}, is {two.target.label!r}; give the pair (--map)"
            )


def _by_listing_alone(work: _Work, sides: tuple[Side, Side]) -> None:
    """A doubt about pairs that nothing but the order of listing tells from one another."""
    places = work.places()
    pairs, settled = {}, set()
    for one in work.result.pairs:
        pairs[places[0][id(one.source)]] = places[1][id(one.target)]
        if one.why in SETTLED:
            settled.add(places[0][id(one.source)])
    open_ones = exchangeable(*sides, pairs, settled)
    if not open_ones:
        return
    names = [[side.layers[i].path for i in pair] for pair, side in (
        (open_ones[0], sides[0]), ([pairs[i] for i in open_ones[0]], sides[1]),
    )]  # fmt: skip
    count = len({i for pair in open_ones for i in pair})
    work.result.doubts.append(
        f"of {count} pairs of layers only the order in which both sides list them says which is "
        f"which, and a model may make its layers in another: {names[0][0]!r} and {names[0][1]!r} "
        f"could be {names[1][1]!r} and {names[1][0]!r}; give live models and a batch (`batch`), "
        "the pairs (--map), or say that both sides list them in one order (--assume-order)"
    )


class _Work:
    """The groups not matched yet."""

    def __init__(self, source: list[Group], target: list[Group]) -> None:
        self._source, self._target, self.result = source, target, Match()
        self.all = (self._source, self._target)
        self._done: set[int] = set()
        self.wired = False  # whether the calls of both sides are known
        self.loose = False  # which shapes count as one, see `signatures.signature`

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

    def by_names(self, framework: str) -> None:
        """Pair names that are equal, if they explain most layers; else only what is alone so.

        Two models of other zoos may share a few names that stand for different layers (`bn1`).
        """
        before = len(self.result.pairs)
        least = min(len(self.source), len(self.target))
        for loose in (False, True):  # names before shapes: a bias more or less changes no name
            self.by_key("name", lambda g: path_in(g, framework), lambda g: g.path, loose=loose)
            key = lambda g: plain(g.path)  # noqa: E731
            self.by_key("similar name", key, key, loose=loose)
            if not loose and not self.wired:
                self.by_place()
            self.by_prefix(loose=loose)
        found = self.result.pairs[before:]
        if 2 * len(found) < least:
            count = [Counter(signature(g, loose=True) for g in side) for side in self.all]
            for pairing in found:
                shape = signature(pairing.source, loose=True)
                if not count[0][shape] == count[1][shape] == 1:
                    self.take_back(pairing)

    def take_back(self, pairing: Pairing) -> None:
        """Undo a pair."""
        self.result.pairs.remove(pairing)
        self._done -= {id(pairing.source), id(pairing.target)}

    def places(self) -> tuple[dict[int, int], dict[int, int]]:
        """Each group's number, by its identity."""
        mine, theirs = ({id(g): i for i, g in enumerate(side)} for side in self.all)
        return mine, theirs

    def by_prefix(self, *, loose: bool) -> None:
        """Pair names that differ by one prefix, such as `model.`, which explains most of them."""
        for side in (0, 1):
            long, short = (self.source, self.target) if side == 0 else (self.target, self.source)
            whole = {(plain(g.path), signature(g, loose=loose)): g for g in short}
            found: dict[str, list[tuple[Group, Group]]] = defaultdict(list)
            for group in long:
                parts = re.split(r"[./]+", group.path)
                for start in range(1, len(parts)):
                    key = (plain(".".join(parts[start:])), signature(group, loose=loose))
                    if key in whole:
                        found[".".join(parts[:start])].append((group, whole[key]))
            best = sorted(found.values(), key=len, reverse=True)
            if not best or 2 * len(best[0]) <= min(len(long), len(short)):
                continue
            if len(best) > 1 and 2 * len(best[1]) > len(best[0]):
                continue
            for group, other in best[0]:
                pair = (group, other) if side == 0 else (other, group)
                if not self._done & {id(group), id(other)}:
                    self.pair(*pair, "similar name")

    def by_structure(self, sides: tuple[Side, Side], *, ordered: bool) -> None:
        """Match what remains as two graphs."""
        places = self.places()
        decided = {
            places[0][id(p.source)]: places[1][id(p.target)]
            for p in self.result.pairs
            if sides[0].layers[places[0][id(p.source)]].kind
            == sides[1].layers[places[1][id(p.target)]].kind
        }
        left = [{id(g) for g in self.source}, {id(g) for g in self.target}]
        open_ones = [
            [i for i in side.order if id(own[i]) in ids and (own[i].placed or not ordered)]
            for side, own, ids in zip(sides, self.all, left, strict=True)
        ]
        found = match_graphs(*sides, decided, (open_ones[0], open_ones[1]), ordered=ordered)
        pairs = [
            (self._source[a], self._target[b], found.why[a])
            for a, b in found.pairs.items()
            if a in found.why and id(self._source[a]) in left[0]
        ]
        by_order = [(a, b) for a, b, why in pairs if why == "order"]
        against = contradiction(by_order)
        if against:
            self.result.problems.append(against)
            pairs = [one for one in pairs if one[2] != "order"]
        for a, b, why in pairs:
            if not self._done & {id(a), id(b)}:
                self.pair(a, b, why)

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
