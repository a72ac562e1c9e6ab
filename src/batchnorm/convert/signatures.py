"""What names and shapes say of two layers: alike, or the other way round.

Names are evidence here, never proof; what is made of it is decided elsewhere (`match`).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence

from batchnorm.convert.groups import Group
from batchnorm.convert.layout import canonical, matrix
from batchnorm.graph.adjacency import TYPES, words

__all__ = ["contradiction", "plain", "signature"]


def signature(group: Group, *, loose: bool = False) -> Hashable:
    """What two layers must share to be candidates: the family and the canonical shapes.

    `loose` leaves out what a conversion can add or take away: a kernel's bias, and axes of 1 that
    tell a convolution from a dense layer.
    """
    if group.kind == "batch_norm":
        return ("batch_norm", group.channels)
    if loose and group.kind == "kernel" and group.form != "embedding":
        shape = canonical(group, "weight")
        plain = None if group.form == "conv_transpose" else matrix(shape)
        return (group.kind, plain or shape)
    shapes = []
    for role in sorted(group.members):
        shape = canonical(group, role)
        if group.kind == "kernel" and len(shape) == 4 and shape[2] == 1:
            shape = (*shape[:2], shape[3])  # MindSpore's Conv1d
        if group.kind == "single":
            shape = tuple(n for n in shape if n != 1)
        shapes.append((role, shape))
    return (group.kind, *shapes)


def plain(path: str) -> str:
    """A name without separators: `layer1.0.down_sample` is `layer1.0.downsample`.

    Separators between two digits count, so that `1.12` and `11.2` stay apart.
    """
    text = re.sub(r"(?<=\d)[._/-]+(?=\d)", "|", path.lower())
    return re.sub(r"[._/-]+", "", text)


def _words(path: str) -> frozenset[str]:
    return frozenset(w for w in words(path) if len(w) > 2 and w not in TYPES and not w.isdigit())


def contradiction(pairs: Sequence[tuple[Group, Group]]) -> str:
    """Two pairs of one shape that would fit better the other way round, by their names."""
    alike: dict[Hashable, list[tuple[Group, Group]]] = defaultdict(list)
    for a, b in pairs:
        alike[signature(a)].append((a, b))
    for same in alike.values():
        words = [(_words(a.path), _words(b.path)) for a, b in same]
        mine, theirs = (frozenset[str]().union(*side) for side in zip(*words, strict=True))
        shared = mine & theirs  # words of one side only say nothing
        for side in zip(*words, strict=True):  # nor do those that most names share
            count = Counter(word for own in side for word in own)
            shared -= {word for word, n in count.items() if 2 * n > len(same)}
        words = [(p & shared, q & shared) for p, q in words] if shared else []
        for i, (p, q) in enumerate(words):
            for j in range(i + 1, len(words)):
                r, s = words[j]
                if len(p & s) + len(r & q) > len(p & q) + len(r & s):
                    (one, its), (two, other) = same[i], same[j]
                    return (
                        f"by order {one.label!r} would be {its.label!r} and {two.label!r} "
                        f"{other.label!r}, but their names say the reverse; give the pairs (--map)"
                    )
    return ""
