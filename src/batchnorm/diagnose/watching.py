"""What a run tells of a model's layers, put into one layout and thinned out to what is kept.

Not here: who runs the model (`recorder.py`), and what is made of it (`comparison.py`).
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

from batchnorm.diagnose.recording import INFERENCE, Node, Rule
from batchnorm.diagnose.trace import Trace, corners, sampled, statistics, unpadded
from batchnorm.errors import BatchNormError
from batchnorm.frameworks import dialect_of
from batchnorm.layer import Layer
from batchnorm.read import read_layer
from batchnorm.vocabulary import Array, Mode

__all__ = ["Watcher", "canonical"]

SMALL = 1 << 16  # values of a kernel that is kept whole
ROWS = 8  # of a larger one
PLAIN = (bool, int, float, str)


def canonical(x: Array, last: bool) -> Array:
    """With channels in axis 1."""
    return np.moveaxis(x, -1, 1) if last and x.ndim > 2 else x


class Watcher:
    """Takes what a run tells of the layers and keeps what a diagnosis needs."""

    def __init__(
        self,
        room: ModuleType,
        model: Any,
        layers: Mapping[str, Any],
        last: bool,
        repeats: bool = False,
    ) -> None:
        self.room, self.model, self.layers, self.last = room, model, layers, last
        self.repeats = repeats  # whether a backward pass may follow another one
        self.nodes = {path: _node(room, path, layer) for path, layer in layers.items()}
        self.order: list[str] = []
        self.phase = ""
        self.inputs: dict[str, list[Array | None]] = {}
        self.told: Counter[tuple[str, str]] = Counter()  # gradients, by layer and which
        self.states: dict[str, dict[str, Array]] = {}
        self.masks: dict[str, Array] = {}
        self.chance: list[str] = []

    @property
    def norms(self) -> dict[str, Any]:
        """The batch norms alone."""
        return {p: self.layers[p] for p, node in self.nodes.items() if node.kind == "batch_norm"}

    def start(self, phase: str) -> None:
        """What is told from here on belongs to this phase."""
        self.phase, self.inputs, self.told = phase, {}, Counter()
        self.states = {path: self.room.state(layer) for path, layer in self.norms.items()}

    def tell(self, path: str, what: str, a: Array, b: Array | None) -> None:
        """See torch's `running.run`."""
        if what == "chance":
            self.chance.append(self.phase)
            return
        if what == "mask":
            self.masks[path] = a
            return
        a = canonical(a, self.last)
        if what == "forward":
            assert b is not None
            self._forward(path, a, canonical(b, self.last))
            return
        calls = self.nodes[path].calls.get(self.phase, [])
        if not calls or self.nodes[path].kind != "batch_norm":
            return
        told = self.told[path, what]
        self.told[path, what] += 1
        index = len(calls) - 1 - told % len(calls)  # a backward pass goes from the last call
        trace, name = calls[index], f"d{what}"
        earlier = getattr(trace, name)  # by a backward pass before, where gradients accumulate
        setattr(trace, name, sampled(a) if earlier is None else earlier + sampled(a))
        if what == "y":
            x = self.inputs[path][index]
            if not self.repeats:
                self.inputs[path][index] = None
            if x is not None and x.shape == a.shape:
                for axis, found in trace.statistics.items():
                    sums = _sums(a, x, axis, found.mean)
                    found.dy = sums if found.dy is None else found.dy + sums

    def _forward(self, path: str, x: Array, y: Array) -> None:
        if path not in self.order:
            self.order.append(path)
        node = self.nodes[path]
        if node.kind != "batch_norm" and self.phase != INFERENCE:
            return
        trace = Trace(x.shape, x.dtype.name, sampled(x), y.shape, sampled(y), y.dtype.name)
        if node.kind == "batch_norm":
            node.one_pass = self.room.one_pass(self.layers[path])
            axes = {1, x.ndim - 1} if 0 not in x.shape else set()
            trace.statistics = {axis: statistics(x, axis) for axis in sorted(axes) if axis}
            trace.before = self.states[path]
            trace.after = self.states[path] = self.room.state(self.layers[path])
            if self.phase != INFERENCE:
                self.inputs.setdefault(path, []).append(x)
            self._rules(node, x, self.masks.pop(path, None))
        elif node.kind == "convolution" and x.ndim > 2 and node.kernel is not None:
            reach = [
                (k - 1) * d + 1
                for k, d in zip(node.kernel.shape[2:], node.facts["dilation"], strict=True)
            ]
            trace.corners = corners(x, y, tuple(reach), tuple(node.facts["strides"]))
            inside, trace.inner = unpadded(x, tuple(reach))
            trace.x = sampled(inside)
        node.calls.setdefault(self.phase, []).append(trace)

    def _rules(self, node: Node, x: Array, mask: Array | None) -> None:
        """What the layer's own settings say of such an input, in both modes."""
        if node.unread or self.phase in node.rules:
            return
        layer = _rule(self.layers[node.name])
        moved = self.last and x.ndim > 2
        shape = (x.shape[0], *x.shape[2:], x.shape[1]) if moved else x.shape
        training = self.phase != INFERENCE
        load = dict(layer.state)
        for name, value in load.items():  # the factor may depend on the batches counted before
            role = layer.STATE[name].role
            before = self.states[node.name].get(role)
            if role == "count" and before is not None and training:
                load[name] = np.asarray(before - 1).reshape(value.shape)
        try:
            layer.load_state(load)
            found = layer.decide(shape, x.dtype, training, mask)
        except BatchNormError as error:
            node.unread = str(error)
            return
        if found.passes:
            return
        axis = found.settings.channel_axes[0] if found.split is None else 1
        if moved and found.split is None:
            axis = 1 if axis == x.ndim - 1 else axis + 1
        mode = found.settings.mode
        beyond = {
            "renorm": found.settings.renorm,
            "ghost batches": found.split,
            "a mask": found.masking,
        }
        node.rules[self.phase] = Rule(
            mode is not Mode.RUNNING,
            mode is Mode.BATCH_AND_UPDATE,
            float(found.settings.epsilon),
            float(found.settings.exponential_average_factor),
            int(found.settings.correction),
            axis,
            ""
            if mode is Mode.RUNNING
            else ", ".join(w for w, v in beyond.items() if v is not None),
        )

    def end(self, gradients: Mapping[str, Mapping[str, Array]]) -> None:
        """The phase is over."""
        self.inputs = {}
        for path, layer in self.norms.items():
            calls = self.nodes[path].calls.get(self.phase, [])
            if len(calls) == 1 or (len(calls) > 1 and _alike(calls)):
                _join(calls)
                calls[0].after = self.room.state(layer)
            if len(calls) == 1:
                calls[0].gradients = dict(gradients.get(path, {}))


def _alike(calls: list[Trace]) -> bool:
    """Whether a layer was given the same each time, as when a checkpoint is computed again."""
    return all(np.array_equal(c.x, calls[0].x, equal_nan=True) for c in calls)


def _join(calls: list[Trace]) -> None:
    """Alike calls as one: it has the gradient of the only one that has any."""
    first = calls[0]
    one, *more = [call for call in calls if call.dy is not None] or [first]
    first.dx, first.dy = (None, None) if more else (one.dx, one.dy)
    for axis, found in first.statistics.items():
        found.dy = None if more else one.statistics[axis].dy
    del calls[1:]


def _sums(dy: Array, x: Array, axis: int, mean: Array) -> Array:
    """Of `Statistics.dy`, sample by sample, so that nothing of the size of x is made."""
    shape = [1] * (x.ndim - 1)
    shape[axis - 1] = -1
    others = tuple(a for a in range(x.ndim - 1) if a != axis - 1)
    found = np.zeros((4, x.shape[axis]))
    for one, given in zip(dy, x, strict=True):
        wide = one.astype(np.float64)
        found[0] += wide.sum(others)
        found[1] += (wide * (given - mean.reshape(shape))).sum(others)
        np.abs(wide, out=wide)
        found[2] += wide.sum(others)
        found[3] = np.maximum(found[3], wide.max(others, initial=0.0))
    return found


def _node(room: ModuleType, path: str, layer: Any) -> Node:
    facts = dict(room.described(layer))
    node = Node(path, facts.pop("kind"))
    if node.kind == "batch_norm":
        node.standing = room.standing(layer)
        node.class_name = type(layer).__name__
        node.facts = {"synchronized": _synchronized(layer)}
        try:
            read = _rule(layer)
        except BatchNormError as error:
            node.unread = str(error)
            return node
        node.dialect, node.class_name = (
            dialect_of(type(read)) or read.FRAMEWORK,
            type(read).__name__,
        )
        node.arguments = {
            name: value
            for name, value in read.arguments().items()
            if isinstance(value, PLAIN) and name not in ("name", "device")
        }
        return node
    kernel = facts.pop("kernel", None)
    node.bias = facts.pop("bias", None)
    if kernel is not None:
        flat = kernel.reshape(kernel.shape[0], -1).astype(np.float64)
        node.sums = np.array([flat.sum(1), (flat * flat).sum(1)])
        if kernel.size > SMALL:
            wanted = np.linspace(0, kernel.shape[0] - 1, 4).astype(int)
            node.rows = np.unique(wanted)[:ROWS]
            kernel = kernel[node.rows]
        node.kernel = kernel
    node.facts = facts
    return node


def _rule(layer: Any) -> Layer:
    """A layer read as the batch norm that it is, whatever its forward adds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read_layer(layer)


def _synchronized(layer: Any) -> bool:
    """Whether its statistics are those of all processes, where there are several."""
    names = {cls.__name__ for cls in type(layer).__mro__}
    return bool(getattr(layer, "synchronized", False)) or "SyncBatchNorm" in names
