"""A functional Keras model's values while it is called: Keras 3 keeps all of them until the end.

Not here: how a model is run (`running.py`). No framework is imported. Facts: keras 3.15.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["released"]


@contextmanager
def released(model: Any) -> Iterator[None]:
    """Values are freed after their last use."""
    graph = getattr(model, "_functional", None) or model
    nodes = [n for at in getattr(graph, "_nodes_by_depth", {}).values() for n in at]
    nodes = [n for n in nodes if hasattr(getattr(n, "arguments", None), "fill_in")]
    if nodes:
        uses = Counter(id(x) for node in nodes for x in node.input_tensors)
        uses.update(id(x) for x in graph.outputs)
    for node in nodes:
        node.arguments.fill_in = _last_use(node, uses)
    try:
        yield
    finally:
        for node in nodes:
            vars(node.arguments).pop("fill_in", None)


def _last_use(node: Any, uses: Counter[int]) -> Callable[[dict[int, Any]], Any]:
    own, left = node.arguments.fill_in, uses

    def fill_in(values: dict[int, Any]) -> Any:
        filled = own(values)
        for x in node.input_tensors:
            left[id(x)] -= 1
            if not left[id(x)]:
                del values[id(x)]
        return filled

    return fill_in
