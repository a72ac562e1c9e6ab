"""Which batch norm is folded into which layer, and why the others are left.

By the calls that a file says (a Keras config): the norm takes a layer's output, nobody else does,
and the layer is called once and without an activation. From names alone only where they show it
(`graph.adjacency`). Or as the map's `[fold]` says. Not here: the arithmetic (`fold_plan`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from batchnorm.checkpoints.steps import OUTPUT, Step
from batchnorm.convert.groups import CHANNELS_LAST, Group, separator
from batchnorm.convert.layout import canonical
from batchnorm.convert.mapping import Map
from batchnorm.convert.source import Source
from batchnorm.convert.structure import graph_of
from batchnorm.errors import CheckpointError
from batchnorm.graph import Graph, Layer
from batchnorm.graph.adjacency import following

__all__ = ["FoldPair", "FoldPairs", "fold_pairs", "followed"]

TRANSPOSED = re.compile(r"deconv|transpose|tconv|convt|upconv|up_?conv|conv_?up|(^|[._])up")


@dataclass(frozen=True)
class FoldPair:
    """A layer and the batch norm after it; `groups` of a transposed convolution."""

    layer: Group
    norm: Group
    groups: int = 1


@dataclass
class FoldPairs:
    """What is folded, and what is left: the batch norm's name -> why."""

    pairs: list[FoldPair] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    from_names: bool = False

    def notes(self) -> list[str]:
        """What the report says of it."""
        found = []
        if self.pairs and self.from_names:
            found.append(
                "folding assumes that nothing stands between a layer and its batch norm where "
                "their names follow each other, which no file of this format says"
            )
        if self.pairs:
            found.append(
                "folded values are computed in float64 and rounded once, by at most half an ulp "
                "each"
            )
        for why in dict.fromkeys(self.left.values()):
            names = [name for name, its in self.left.items() if its == why]
            listed = ", ".join(names[:4]) + (f" and {len(names) - 4} more" * (len(names) > 4))
            found.append(f"left unfolded: {listed}: {why}")
        return found


def fold_pairs(source: Source, map: Map) -> FoldPairs:
    """The pairs to fold.

    Raises:
        CheckpointError: the map names layers that don't fit, or the order of the file says nothing.
    """
    if map.fold:
        return _told(source, map.fold)
    if not source.checkpoint.steps and not source.ordered:
        raise CheckpointError(
            f"{source.name}: its entries are sorted by name, so which batch norm follows which "
            "layer is not to be seen; name the pairs under [fold] in the map"
        )
    return _found(source)


def followed(source: Source) -> list[tuple[Group, Group]]:
    """Layers with a kernel, each with the batch norm that directly follows it, where that shows."""
    known = bool(source.checkpoint.steps) or source.ordered
    return [(pair.layer, pair.norm) for pair in _found(source).pairs] if known else []


def _found(source: Source) -> FoldPairs:
    graph = graph_of(source)
    result = FoldPairs(from_names=not graph.wired)
    groups = {group.path: group for group in source.groups}
    shown = {} if graph.wired else following(graph.layers, separator(source.framework))
    for layer in graph.layers:
        if layer.kind != "batch_norm":
            continue
        before, why = _wired(graph, layer) if graph.wired else shown[layer.path]
        groups_of = 1
        if before is not None:
            why, groups_of = _fits(groups[before.path], groups[layer.path], graph.wired)
        if before is None or why:
            result.left[groups[layer.path].label] = why
        else:
            pair = FoldPair(groups[before.path], groups[layer.path], groups_of)
            result.pairs.append(pair)
    return result


def _told(source: Source, told: Mapping[str, str]) -> FoldPairs:
    """The pairs of the map."""
    by_path = {g.path: g for g in source.groups}
    result = FoldPairs()
    for conv_path, norm_path in told.items():
        conv, norm = by_path.get(conv_path), by_path.get(norm_path)
        if conv is None or norm is None or conv.kind != "kernel" or norm.kind != "batch_norm":
            raise CheckpointError(
                f"the map's [fold] names {conv_path!r} and {norm_path!r}; expected a layer "
                "with a kernel and a batch norm of the source"
            )
        why, groups = _fits(conv, norm, sure=True)
        if why:
            raise CheckpointError(f"the map's [fold] {conv_path!r} and {norm_path!r}: {why}")
        result.pairs.append(FoldPair(conv, norm, groups))
    return result


def _wired(graph: Graph, norm: Layer) -> tuple[Layer | None, str]:
    """The layer whose output a batch norm alone takes; or why there is none."""
    calls = graph.calls(norm)
    if len(calls) != 1:
        return None, "the config doesn't say where it is called" if not calls else "is called twice"
    step = graph.steps[calls[0]]
    if "inside" in step.known or len(step.inputs) != 1:
        return None, f"stands inside a {step.known.get('inside', 'layer of several inputs')}"
    place = step.inputs[0]
    before = graph.steps[place]
    layers = [one for one in graph.layers_of(place) if one.kind == "kernel"]
    if not layers or before.what == OUTPUT or layers[-1].form == "embedding":
        return None, f"takes what {before.what} puts out, which has no kernel"
    layer = layers[-1]  # of a separable convolution the pointwise part
    if len(graph.calls(layer)) != 1:
        return None, f"{layer.path}, before it, is called more than once"
    if len(graph.consumers(place)) != 1:
        return None, f"others take the output of {layer.path}, too"
    if "activation" in before.known:
        return None, f"{layer.path}, before it, has the activation {before.known['activation']}"
    if "inside" in before.known:
        return None, f"{layer.path}, before it, stands inside a {before.known['inside']}"
    if not _same_axis(before, step):
        return None, f"normalizes axis {step.known.get('axis')}, and not the channels"
    return layer, ""


def _same_axis(layer: Step, norm: Step) -> bool:
    """Whether a batch norm's axis is that of the layer's outputs."""
    axis = norm.known.get("axis", -1)
    if isinstance(axis, tuple):
        axis = axis[0] if len(axis) == 1 else None
    size = layer.known.get("kernel_size")
    rank = norm.known.get("rank", len(size) + 2 if isinstance(size, tuple) else None)
    first = layer.known.get("data_format") == "channels_first"
    if axis == -1 or not isinstance(axis, int) or not isinstance(rank, int):
        return axis == (1 if first and rank is None else -1) and not first
    return axis % rank == (1 if first else rank - 1)


def _fits(conv: Group, norm: Group, sure: bool) -> tuple[str, int]:
    """Why shapes forbid a fold (empty if they don't), and the groups of a transposed kernel.

    A kernel whose first two sizes are equal may be a transposed convolution's, which has its
    outputs on the second axis; names alone tell it only where they say so.
    """
    shape, width = canonical(conv, "weight"), norm.channels
    config = conv.facts.get("config")
    if isinstance(config, Mapping) and config.get("activation", "another one") != "linear":
        said = config.get("activation", "another one")
        return f"{conv.path}, before it, has the activation {said}", 1
    if len(shape) not in (2, 3, 4, 5):
        return f"a kernel of shape {conv.members['weight'].shape} can't be folded into", 1
    if conv.form == "conv_transpose":
        groups = conv.facts.get("groups", 1 if conv.framework in CHANNELS_LAST else None)
        groups = groups if isinstance(groups, int) else max(width // max(shape[1], 1), 1)
        if shape[1] * groups != width or shape[0] % groups:
            return f"{conv.path} doesn't put out its {width} channels", 1
        return "", groups
    known = bool(conv.form) or sure or conv.framework in CHANNELS_LAST
    if len(shape) > 2 and not known:
        if shape[0] != width == shape[1]:
            return "", 1  # a transposed one: its outputs are on the second axis
        if shape[0] == width and (shape[1] == width or TRANSPOSED.search(conv.path.lower())):
            even = all(size % 2 == 0 for size in shape[2:])
            if even or TRANSPOSED.search(conv.path.lower()):
                return (
                    f"{conv.path} may be a transposed convolution, which has its outputs on "
                    'another axis; say kind = "conv" or "conv_transpose" in the map',
                    1,
                )
    elif len(shape) > 2 and sure and shape[0] != width == shape[1]:
        return "", 1
    if shape[0] != width:
        return f"{conv.path} puts out {shape[0]} channels, and the norm has {width}", 1
    return "", 1
