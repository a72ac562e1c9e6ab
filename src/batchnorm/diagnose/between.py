"""What reaches each layer, by the outputs before it in its own model.

Not here: what a single layer does (`comparison.py`), and how a cause is told (`upstream.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from batchnorm.diagnose.alignment import Pair
from batchnorm.diagnose.recording import INFERENCE, Recording
from batchnorm.diagnose.trace import Trace
from batchnorm.diagnose.upstream import (
    carried_order,
    link_of,
    link_text,
    linked,
    reordered,
    scale_of,
    turned,
)
from batchnorm.vocabulary import Array

__all__ = ["CLOSE", "between", "difference"]

CLOSE = 1e-4  # of what reaches a layer, relative to its largest value
FAINT = 0.01  # up to which a difference that comes in leaves values recognizable
GROWTH = 30.0  # of a difference between two watched layers, through what has no parameters


def between(
    source: Recording,
    port: Recording,
    pairs: list[Pair],
    add: Callable[..., None],
    doubt: Callable[..., None],
) -> None:
    """Tell of every layer's input whether it is what the source makes of the values before.

    Args:
        source: the source's run.
        port: the port's.
        pairs: which layers belong together.
        add: takes a pair, a cause, evidence, a runner-up and a phase.
        doubt: takes what can't be told, why, and layers.
    """
    _Between(source, port, pairs, add, doubt).look()


class _Between:
    def __init__(
        self,
        source: Recording,
        port: Recording,
        pairs: list[Pair],
        add: Callable[..., None],
        doubt: Callable[..., None],
    ) -> None:
        self.source, self.port, self.pairs = source, port, pairs
        self.add, self.doubt = add, doubt

    def look(self) -> None:
        """Layer by layer, in order."""
        partner = {pair.source.name: pair for pair in self.pairs}
        before: list[tuple[str, tuple[int, ...], Array]] = []
        values: dict[str, tuple[tuple[int, ...], Array]] = {}
        error, compared = 0.0, False
        pairs = zip(self.source.batch, self.port.batch, strict=False)
        for index, (mine, own) in enumerate(pairs):
            name = "the batch" if index == 0 else f"the batch {index}"
            before.insert(0, (name, mine.shape, mine.x.astype(np.float64)))
            values[name] = (own.shape, own.x.astype(np.float64))
            error = max(error, difference(mine.x, own.x, mine.shape, own.shape))
        apart = error > CLOSE
        for node in self.source.nodes:
            one = node.call(INFERENCE)
            pair = partner.get(node.name)
            other = None if pair is None else pair.port.call(INFERENCE)
            if one is None:
                continue
            x, y = one.x.astype(np.float64), one.y.astype(np.float64)
            if pair is not None and other is not None:
                near = difference(x, other.x, one.inner_shape, other.inner_shape) <= CLOSE
                if apart and near and not compared and len(values) == 1:
                    apart, error = False, 0.0  # one model prepares its batch itself
                    values.clear()
                compared = True
                error = self._reaches(pair, one, other, before, values, error)
            before.insert(0, (f"the input of {node.name}", one.inner_shape, x))
            if node.unread or (pair is not None and pair.port.unread):
                continue  # its output may be that of more than a batch norm
            before.insert(0, (node.name, one.output_shape, y))
            if other is not None:
                values[f"the input of {node.name}"] = (
                    other.inner_shape, other.x.astype(np.float64),
                )  # fmt: skip
                values[node.name] = (other.output_shape, other.y.astype(np.float64))
        if apart:
            self.doubt(
                "what reaches the first layers",
                "the two models were given batches that differ",
                "the batch",
            )

    def _reaches(
        self,
        pair: Pair,
        one: Trace,
        other: Trace,
        before: list[tuple[str, tuple[int, ...], Array]],
        values: dict[str, tuple[tuple[int, ...], Array]],
        error: float,
    ) -> float:
        """Name what is wrong with a layer's input; give the largest difference so far."""
        x, own = one.x.astype(np.float64), other.x.astype(np.float64)
        order = carried_order(pair.source, pair.port)
        if order is not None:
            x = x[:, order]
        d = difference(x, own, one.inner_shape, other.inner_shape)
        after = difference(one.y, other.y, one.output_shape, other.output_shape)
        link = link_of(x, one.inner_shape, before) if order is None else None
        given = {n: v for n, (shape, v) in values.items() if shape == other.inner_shape}
        if one.inner_shape != other.inner_shape:
            moved = sorted(one.inner_shape) == sorted(other.inner_shape)
            shapes = {"port": str(other.inner_shape), "source": str(one.inner_shape)}
            if moved and one.shape != other.shape and not np.isinf(error):
                self.add(pair, "layout-differs", shapes, "", INFERENCE)
            elif not (np.isinf(error) or _may_be_one(one, other)):
                self.add(
                    pair,
                    "input-differs",
                    {"shape in the port": shapes["port"], "in the source": shapes["source"]},
                    "",
                    INFERENCE,
                )
        elif link is not None and all(n in given for n in link.names):
            found = linked(link, own, given)
            if found is not None and found[0] == "input-differs":
                found = turned(one, other) or found
            if found is not None and not self._tolerated(d, error, found[0]):
                self.add(pair, found[0], {**found[1], "after": link_text(link)}, found[2],
                          INFERENCE)  # fmt: skip
        elif d > max(CLOSE, GROWTH * error) and np.isfinite(own).all():
            cause, evidence, runner = _unlinked(x, own, error)
            self.add(pair, cause, evidence, runner, INFERENCE)
        elif error > CLOSE and link is None and d > CLOSE:
            self.doubt(
                "what reaches the layer",
                "a difference comes in from before, and what lies between isn't known",
                pair.source.name,
            )
        return max(error, d, after)

    def _tolerated(self, d: float, error: float, cause: str) -> bool:
        """Whether the difference is rounding alone, for a function that is not exactly ours."""
        return cause == "input-differs" and d <= max(CLOSE, 4 * error)


def _may_be_one(one: Trace, other: Trace) -> bool:
    """Whether inputs may have one size without padding: zeros at edges may be values as well."""
    ranges = [tuple(zip(t.inner_shape[2:], t.shape[2:], strict=True)) for t in (one, other)]
    return len(one.shape) == len(other.shape) and all(
        max(low, own_low) <= min(high, own_high)
        for (low, high), (own_low, own_high) in zip(*ranges, strict=True)
    )


def _unlinked(x: Array, own: Array, error: float) -> tuple[str, dict[str, Any], str]:
    scaled = scale_of(own, x)
    if scaled is not None:
        return "scale-differs", scaled, ""
    moved = reordered(own, x, min(4 * error, FAINT))
    if moved is not None:
        return moved
    size = float(np.abs(x).max(initial=0.0))
    wrong = (np.abs(own - x) > CLOSE * size).any(1)
    evidence = {"places": f"{int(wrong.sum())} of {wrong.size}",
                "largest difference": float(np.abs(own - x).max() / max(size, 1e-30))}  # fmt: skip
    return "input-differs", evidence, ""


def difference(a: Array, b: Array, shape: tuple[int, ...], other: tuple[int, ...]) -> float:
    """The largest, relative to the largest value; infinite for shapes that differ."""
    if shape != other:
        return float("inf")
    x, y = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(all="ignore"):
        far = np.abs(x - y)
        far = np.where((x == y) | (np.isnan(x) & np.isnan(y)), 0.0, far)
        size = float(np.nanmax(np.where(np.isfinite(x), np.abs(x), 0.0), initial=0.0))
    if np.isnan(far).any():
        return float("inf")
    return float(far.max(initial=0.0) / max(size, 1e-30))
