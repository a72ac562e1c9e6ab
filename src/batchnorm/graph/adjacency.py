"""Which batch norm follows which layer, told from names alone: only where nothing speaks against.

Names show it where the two stand next to each other under one parent and have one index after the
other (`0`, `1`), or one name but for the word of their class (`conv1`, `bn1`; `stem`, `stem_bn`),
or where layers and norms take turns throughout. An index between (`0`, `2`), another layer of the
norm's number, and the word of a branch (`shortcut`) speak against it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from batchnorm.graph.graph import Layer

__all__ = ["BRANCH", "TYPES", "following", "tag", "words"]

TYPES = frozenset({
    "batch", "batchnorm", "batchnormalization", "bn", "conv", "convolution", "dense", "fc",
    "linear", "norm", "normalization", "normalisation", "syncbatchnorm",
})  # fmt: skip
BRANCH = frozenset({
    "downsample", "ds", "identity", "match", "proj", "projection", "residual", "sc",
    "shortcut", "short", "skip",
})  # fmt: skip
GLUED = re.compile(f"({'|'.join(sorted(BRANCH))})(bn|conv|norm)")  # skipbn


def words(name: str) -> list[str]:
    """The words and numbers of a name: `layer1.downsample_0` is layer, 1, downsample, 0."""
    plain = re.sub(r"(conv|norm|bn|normalization)[123]d", r"\1", name.lower())
    plain = plain.replace("down_sample", "downsample").replace("batch_norm", "batchnorm")
    found: list[str] = []
    for word in re.findall(r"[a-z]+|\d+", plain):
        glued = GLUED.fullmatch(word)
        found += glued.groups() if glued else [word]
    return found


def tag(name: str) -> tuple[str, ...]:
    """What a name says beside the class of its layer: `conv1` and `bn1` have one tag."""
    return tuple(word for word in words(name) if word not in TYPES)


def following(layers: Sequence[Layer], separator: str) -> dict[str, tuple[Layer | None, str]]:
    """For each batch norm the layer that it follows, or None and why that can't be told.

    Args:
        layers: in the order in which the model lists them.
        separator: what stands between the parts of a path.
    """
    found: dict[str, tuple[Layer | None, str]] = {}
    parents: dict[str, list[Layer]] = {}
    before: dict[str, Layer] = {}
    for index, layer in enumerate(layers):
        parents.setdefault(_split(layer, separator)[0], []).append(layer)
        if index:
            before[layer.path] = layers[index - 1]
    for parent, own in parents.items():
        siblings = _Siblings(own, separator)
        for norm in own:
            if norm.kind != "batch_norm":
                continue
            last = before.get(norm.path)
            if last is None or last.kind != "kernel" or last.form == "embedding":
                found[norm.path] = (None, "no layer with a kernel is listed directly before it")
            elif _split(last, separator)[0] != parent:
                found[norm.path] = (None, f"the layer before it, {last.path}, has another parent")
            else:
                against = siblings.against(last, norm)
                found[norm.path] = (None, against) if against else (last, "")
    return found


class _Siblings:
    """The layers under one parent, by what their names say."""

    def __init__(self, own: Sequence[Layer], separator: str) -> None:
        self.names = {one.path: _split(one, separator)[1] for one in own}
        self.tags = {path: tag(name) for path, name in self.names.items()}
        self.by_tag: dict[tuple[str, tuple[str, ...]], list[Layer]] = {}
        listed = [one for one in own if one.kind == "batch_norm" or _is_kernel(one)]
        for one in listed:
            self.by_tag.setdefault((one.kind, self.tags[one.path]), []).append(one)
        turns = listed[:-1] if listed and listed[-1].form == "dense" else listed
        kinds = [one.kind for one in turns]  # a classifier at the end has no norm
        self.take_turns = kinds == ["kernel", "batch_norm"] * (len(kinds) // 2)

    def against(self, kernel: Layer, norm: Layer) -> str:
        """What in the names speaks against a pair; empty if nothing does."""
        first, second = self.names[kernel.path], self.names[norm.path]
        if first.isdigit() and second.isdigit():
            if int(second) == int(first) + 1:
                return ""
            return f"something stands between {first} and {second}"
        one, two = self.tags[kernel.path], self.tags[norm.path]
        if one == two:
            return ""
        if BRANCH & set(one) and not BRANCH & set(two):
            return f"{kernel.path} is a branch of its own by its name"
        rival = [k for k in self.by_tag.get(("kernel", two), ()) if k is not kernel]
        rival += [n for n in self.by_tag.get(("batch_norm", one), ()) if n is not norm]
        if rival:
            return f"by its name it may belong to {rival[0].path}"
        if not self.take_turns:
            return f"names of the layers beside it don't show that it follows {kernel.path}"
        return ""


def _is_kernel(layer: Layer) -> bool:
    return layer.kind == "kernel" and layer.form != "embedding"


def _split(layer: Layer, separator: str) -> tuple[str, str]:
    parent, _, name = layer.path.rpartition(separator)
    return parent, name
