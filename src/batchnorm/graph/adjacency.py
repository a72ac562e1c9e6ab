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

__all__ = ["BRANCH", "following", "tag", "words"]

TYPES = frozenset({
    "batch", "batchnorm", "batchnormalization", "bn", "conv", "convolution", "dense", "fc",
    "linear", "norm", "normalization", "normalisation", "syncbatchnorm",
})  # fmt: skip
BRANCH = frozenset({
    "branch", "downsample", "ds", "identity", "match", "proj", "projection", "residual", "sc",
    "shortcut", "short", "skip",
})  # fmt: skip


def words(name: str) -> list[str]:
    """The words and numbers of a name: `layer1.downsample_0` is layer, 1, downsample, 0."""
    plain = re.sub(r"(conv|norm|bn|normalization)[123]d", r"\1", name.lower())
    plain = plain.replace("down_sample", "downsample").replace("batch_norm", "batchnorm")
    return re.findall(r"[a-z]+|\d+", plain)


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
        kernels = [one for one in own if one.kind == "kernel" and one.form != "embedding"]
        norms = [one for one in own if one.kind == "batch_norm"]
        names = {id(one): _split(one, separator)[1] for one in own}
        for norm in norms:
            last = before.get(norm.path)
            if last is None or last.kind != "kernel" or last.form == "embedding":
                found[norm.path] = (None, "no layer with a kernel is listed directly before it")
            elif _split(last, separator)[0] != parent:
                found[norm.path] = (None, f"the layer before it, {last.path}, has another parent")
            else:
                against = _against(last, norm, kernels, norms, own, names)
                found[norm.path] = (None, against) if against else (last, "")
    return found


def _against(
    kernel: Layer,
    norm: Layer,
    kernels: Sequence[Layer],
    norms: Sequence[Layer],
    own: Sequence[Layer],
    names: dict[int, str],
) -> str:
    """What in the names speaks against a pair; empty if nothing does."""
    first, second = names[id(kernel)], names[id(norm)]
    if first.isdigit() and second.isdigit():
        if int(second) == int(first) + 1:
            return ""
        return f"something stands between {first} and {second}"
    one, two = tag(first), tag(second)
    if one == two:
        return ""
    if BRANCH & set(one) and not BRANCH & set(two):
        return f"{kernel.path} is a branch of its own by its name"
    rival = [k for k in kernels if k is not kernel and tag(names[id(k)]) == two]
    rival += [n for n in norms if n is not norm and tag(names[id(n)]) == one]
    if rival:
        return f"by its name it may belong to {rival[0].path}"
    turns = [layer for layer in own if layer in kernels or layer in norms]
    if turns[-1].form == "dense":  # a classifier at the end has no norm
        turns.pop()
    if [one.kind for one in turns] != ["kernel", "batch_norm"] * (len(turns) // 2):
        return f"names of the layers beside it don't show that it follows {kernel.path}"
    return ""


def _split(layer: Layer, separator: str) -> tuple[str, str]:
    parent, _, name = layer.path.rpartition(separator)
    return parent, name
