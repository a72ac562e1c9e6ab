"""A live model's run as a `Recording`: in inference, in training with gradients, and some steps.

The framework's room runs the model and tells what its layers are given and give; here it is put
into one layout and thinned out. Not here: what is made of it.
"""

from __future__ import annotations

import ctypes
import math
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import ModuleType
from typing import Any

import numpy as np

from batchnorm.diagnose import own_layers
from batchnorm.diagnose.ranks import rank_here
from batchnorm.diagnose.recording import INFERENCE, TRAINING, Node, Recording, Rule
from batchnorm.diagnose.trace import Trace, corners, sampled, statistics, unpadded
from batchnorm.errors import BatchNormError, InvalidType
from batchnorm.frameworks import dialect_of
from batchnorm.layer import Layer
from batchnorm.read import framework_of, read_layer
from batchnorm.vocabulary import Array, Mode

__all__ = ["RATE", "canonical", "record", "room_of"]

RATE = 1e-3  # of the steps of plain gradient descent
SMALL = 1 << 16  # values of a kernel that is kept whole
ROWS = 8  # of a larger one
PLAIN = (bool, int, float, str)


def room_of(model: Any) -> tuple[str, ModuleType]:
    """Whose model it is, and the module that can run it.

    Raises:
        TypeError: nobody's.
    """
    if isinstance(model, Layer):
        return dialect_of(type(model)) or model.FRAMEWORK, own_layers
    parts = list(model.values()) if isinstance(model, Mapping) else model
    if isinstance(parts, list | tuple) and parts and all(isinstance(p, Layer) for p in parts):
        return dialect_of(type(parts[0])) or parts[0].FRAMEWORK, own_layers
    record = framework_of(model)
    return record.name, record.room("running")


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
        layer = read_layer(self.layers[node.name])
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
            read = read_layer(layer)
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


def _synchronized(layer: Any) -> bool:
    """Whether its statistics are those of all processes, where there are several."""
    names = {cls.__name__ for cls in type(layer).__mro__}
    return bool(getattr(layer, "synchronized", False)) or "SyncBatchNorm" in names


def record(
    model: Any,
    batch: Any,
    *,
    steps: int = 1,
    loss: Callable[[Any], Any] | None = None,
    last: bool | None = None,
    rank: tuple[int, int] | None = None,
    progress: Callable[[str], None] = lambda phase: None,
) -> Recording:
    """Run a model on a batch, in inference, in training, and further steps of gradient descent.

    Args:
        model: a torch module, a MindSpore cell, a Keras model, a layer of this package's or several
            in sequence. It is left as it was.
        batch: what it is called with.
        steps: how many training steps; 0 for inference alone.
        loss: from the outputs, what is differentiated; by default they are weighted by fixed
            random numbers.
        last: whether channels are the last axis, where the model doesn't say so.
        rank: which of how many processes that share the batch this one is; by default as the
            engine says that started them.
        progress: told each phase's name before it runs.

    Raises:
        TypeError: it is no model of a framework that is known here, or can't be watched.
    """
    name, room = room_of(model)
    model = room.eager(model)
    layers = room.parameterised(model)
    if not any(room.described(layer)["kind"] == "batch_norm" for layer in layers.values()):
        raise InvalidType(
            f"{type(model).__qualname__} holds no batch norm, so there is nothing to diagnose"
        )
    said = room.is_last(model)
    last = bool(last) if said is None else said
    watcher = Watcher(room, model, layers, last, loss is not None)
    found = Recording(name, rank=rank or rank_here())
    found.batch = [_of_batch(value, last) for value in _arrays(batch)]

    def weigh(outputs: list[Array]) -> list[Array]:
        return [_weights(output, last, index) for index, output in enumerate(outputs)]

    with room.unchanged(model):
        progress(INFERENCE)
        watcher.start(INFERENCE)
        outputs, _ = room.run(model, batch, layers, watcher.tell, training=False)
        watcher.end({})
        found.outputs = [canonical(o, last) for o in outputs]
    _give_back()
    own_loss = {"loss": _checked(loss)} if loss is not None else {"weigh": weigh}
    with room.unchanged(model):
        for step in range(steps):
            phase = TRAINING if step == 0 else f"step {step + 1}"
            progress(phase)
            watcher.start(phase)
            _, gradients = room.run(
                model, batch, watcher.norms, watcher.tell, training=True, **own_loss
            )
            watcher.end(gradients)
            _give_back()
            found.phases.append(phase)
            if step + 1 < steps:
                room.descend(model, RATE)
    found.phases.insert(0, INFERENCE)
    found.chance = watcher.chance
    large = [n.name for n in watcher.nodes.values() if n.rows is not None]
    if large:
        found.dropped.append(f"of {len(large)} large kernels all but some outputs' rows and sums")
    never = [path for path in layers if path not in watcher.order]
    found.nodes = [watcher.nodes[path] for path in (*watcher.order, *never)]
    return found


def _checked(loss: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A loss that gives one number: of several some frameworks would differentiate the sum."""

    def checked(outputs: Any) -> Any:
        found = loss(outputs)
        shape = getattr(found, "shape", None)
        if shape is None or math.prod(shape) != 1:
            what = repr(found) if shape is None else f"a tensor of shape {tuple(shape)}"
            raise InvalidType(
                f"loss gave {what}: expected one number, as a tensor of the model's framework"
            )
        return found

    return checked


def _give_back() -> None:
    """Freed memory to the system, which glibc else keeps: a pass frees as much as it took."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _arrays(batch: Any) -> list[Any]:
    if isinstance(batch, Mapping):
        return list(batch.values())
    return list(batch) if isinstance(batch, tuple | list) else [batch]


def _of_batch(value: Any, last: bool) -> Trace:
    for name in ("detach", "asnumpy", "numpy"):
        if hasattr(value, name):
            value = getattr(value, name)()
    array = canonical(np.asarray(value), last)
    if array.ndim < 2:
        array = array.reshape(-1, 1)
    kept = sampled(array)
    return Trace(array.shape, array.dtype.name, kept, array.shape, kept, array.dtype.name)


def _weights(output: Array, last: bool, index: int) -> Array:
    """Random numbers that are the same for every layout."""
    shape = canonical(output, last).shape
    drawn = np.random.default_rng(index).standard_normal(shape).astype(np.float32)
    return np.ascontiguousarray(np.moveaxis(drawn, 1, -1)) if last and len(shape) > 2 else drawn
