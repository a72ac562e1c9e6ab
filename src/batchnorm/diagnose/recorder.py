"""A live model's run as a `Recording`: in inference, in training with gradients, and some steps.

The framework's room runs the model; a `Watcher` takes what it tells. Not here: what is kept of it
(`watching.py`), and what is made of it (`comparison.py`).
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import ModuleType
from typing import Any

import numpy as np

from batchnorm.batches import arrays
from batchnorm.diagnose import own_layers
from batchnorm.diagnose.ranks import rank_here
from batchnorm.diagnose.recording import INFERENCE, TRAINING, Recording
from batchnorm.diagnose.trace import Trace, sampled
from batchnorm.diagnose.watching import Watcher, canonical
from batchnorm.errors import InvalidType, InvalidValue
from batchnorm.frameworks import dialect_of
from batchnorm.layer import Layer
from batchnorm.read import framework_of
from batchnorm.vocabulary import Array

__all__ = ["RATE", "record", "room_of"]

RATE = 1e-3  # of the steps of plain gradient descent
ROUNDING = 1e-4  # of the largest output: how far off a second pass may be


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
    record = framework_of(model, "a diagnosis")
    return record.name, record.room("running")


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
        ValueError: steps below 0, or a batch of no numbers.
    """
    if not isinstance(steps, int) or steps < 0:
        raise InvalidValue(f"steps are 0 or more, but got {steps!r}")
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
    found.batch = _given(batch, last)

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
    trained = outputs
    with room.unchanged(model):
        for step in range(steps):
            phase = TRAINING if step == 0 else f"step {step + 1}"
            progress(phase)
            watcher.start(phase)
            made, gradients = room.run(
                model, batch, watcher.norms, watcher.tell, training=True, **own_loss
            )
            watcher.end(gradients)
            trained = made if step == 0 else trained
            _give_back()
            found.phases.append(phase)
            if step + 1 < steps:
                room.descend(model, RATE)
    found.phases.insert(0, INFERENCE)
    found.chance = watcher.chance
    passes = {TRAINING: trained, INFERENCE: outputs} if steps else {INFERENCE: outputs}
    for phase, made in passes.items():  # of inference only where training does
        if _repeats(room, model, batch, made, training=phase == TRAINING):
            break
        found.chance += [phase] if phase not in found.chance else []
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


def _repeats(
    room: ModuleType, model: Any, batch: Any, outputs: list[Array], *, training: bool
) -> bool:
    """Whether a pass once more gives the same: else random numbers are drawn."""
    with room.unchanged(model):
        again, _ = room.run(model, batch, {}, lambda *told: None, training=training)
    sizes = [float(np.abs(old[np.isfinite(old)]).max(initial=0.0)) for old in outputs]
    return all(
        np.allclose(new, old, 0, ROUNDING * size, equal_nan=True)
        for old, new, size in zip(outputs, again, sizes, strict=True)
    )


def _give_back() -> None:
    """Freed memory to the system, which glibc else keeps: a pass frees as much as it took."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _given(batch: Any, last: bool) -> list[Trace]:
    """What of each array of a batch is kept."""
    found = arrays(batch)
    if not found or any(array.dtype.kind in "OUSM" or not array.size for array in found):
        what = ", ".join(f"{a.dtype} of shape {a.shape}" for a in found) or "none"
        raise InvalidValue(
            "expected a batch of one sample or more, as an array or tensor, a tuple or a mapping "
            f"of them, but got {what}"
        )
    return [_of_batch(canonical(array, last)) for array in found]


def _of_batch(array: Array) -> Trace:
    if array.ndim < 2:
        array = array.reshape(-1, 1)
    kept = sampled(array)
    return Trace(array.shape, array.dtype.name, kept, array.shape, kept, array.dtype.name)


def _weights(output: Array, last: bool, index: int) -> Array:
    """Random numbers that are the same for every layout."""
    shape = canonical(output, last).shape
    drawn = np.random.default_rng(index).standard_normal(shape).astype(np.float32)
    return np.ascontiguousarray(np.moveaxis(drawn, 1, -1)) if last and len(shape) > 2 else drawn
