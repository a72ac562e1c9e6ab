"""A checkpoint's structure as a `Graph`: its groups as layers, the calls that its file says.

Not here: what is made of it (`match`, `fold_pairs`).
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from batchnorm.convert.groups import Group
from batchnorm.convert.layout import canonical, matrix
from batchnorm.convert.signatures import signature
from batchnorm.convert.source import Readable, Source, opened, source_of
from batchnorm.graph import Graph, Layer
from batchnorm.graph.graph import Origin

__all__ = ["graph", "graph_of", "layer_of"]


def graph(
    source: Readable, batch: Any = None, *, framework: str | None = None, group: str | None = None
) -> Graph:
    """The layers of a checkpoint or live model, and who feeds whom where that is known.

    A Keras config and an ONNX file say which layer is called on what, and so does one run of a
    live model; other files list names alone.

    Args:
        source: a file, a mapping of names to arrays, or a live model.
        batch: what the live model is run on, in inference: an array, a tuple or a mapping of them.
            The model is left as it was.
        framework: whose names it has, where it doesn't say so.
        group: the dictionary, or the beginning of names, with the model's state.

    Returns:
        A `Graph`: its repr is one screen, `text()` all of it, `dot()` Graphviz text.

    Raises:
        CheckpointError: the file is bad.

    Example:
        >>> import numpy as np, batchnorm as bn
        >>> bn.graph({"conv.weight": np.ones((4, 3, 1, 1))}, framework="torch")
        Graph from names alone: 1 layers, no edges
          conv  kernel 4
    """
    with opened(source, batch) as checkpoint:
        return graph_of(source_of(checkpoint, framework, group))


def graph_of(source: Source) -> Graph:
    """The graph of a checkpoint: from its calls where they are known, else from names alone."""
    layers = [layer_of(group) for group in source.groups]
    steps = source.checkpoint.steps
    origin: Origin = "file" if source.checkpoint.format == "onnx" else "config"
    origin = "run" if source.checkpoint.metadata.get("run") else origin
    return Graph(layers, steps, origin if steps else "names", source.order)


def layer_of(group: Group) -> Layer:
    """A group of arrays as a layer."""
    step = group.path.removesuffix(f"/{group.part}") if group.part else ""
    known = {k: v for k, v in group.facts.items() if k in ("groups", "class_name")}
    return Layer(group.path, group.kind, _form(group), _width(group), _shape(group), known, step)


def _shape(group: Group) -> Hashable:
    """What a layer shares with one that may be the same; two axes may be an embedding's, too."""
    if group.kind != "kernel":
        return signature(group, loose=True)
    shape = canonical(group, "weight")
    plain = None if group.form in ("conv_transpose", "embedding") else matrix(shape)
    if plain is None and len(shape) == 4 and shape[2] == 1:
        plain = (*shape[:2], shape[3])  # MindSpore's Conv1d
    return ("kernel", plain or shape)


def _form(group: Group) -> str:
    """What a kernel is; one of two axes that nothing else is said of is a dense layer's."""
    if group.kind == "kernel" and not group.form and len(canonical(group, "weight")) == 2:
        return "dense"
    return group.form


def _width(group: Group) -> int | None:
    """How many channels a layer puts out. One that may be transposed is not taken for it."""
    if group.kind == "batch_norm":
        return group.channels
    if group.kind != "kernel":
        return None
    shape = canonical(group, "weight")
    if group.form != "conv_transpose":
        return shape[0]
    groups = group.facts.get("groups", 1)
    return shape[1] * groups if isinstance(groups, int) else None
