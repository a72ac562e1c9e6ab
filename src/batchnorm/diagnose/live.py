"""`diagnose`: two live models, one batch, and the causes by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from batchnorm.batches import carried, is_last, plain
from batchnorm.diagnose.comparison import compare_recordings
from batchnorm.diagnose.recorder import record, room_of
from batchnorm.diagnose.report import Report
from batchnorm.errors import InvalidType

__all__ = ["diagnose"]


def diagnose(
    source: Any,
    port: Any,
    batch: Any,
    *,
    steps: int = 1,
    map: Mapping[str, str] | None = None,
    source_batch: Any = None,
    loss: Callable[[Any], Any] | tuple[Callable[[Any], Any], Callable[[Any], Any]] | None = None,
) -> Report:
    """Say why a port computes or trains otherwise than its source.

    Each batch norm of the port is replayed by the source's rule on the input that the port itself
    gave it, so a fault of one layer accuses no other, and the tolerance is that of one layer. State
    before, output, update of the statistics and gradients are looked at separately, in inference,
    in training and after further steps; what reaches a layer by the layers that feed it. Both
    models are left as they were: modes, state, gradients. Dropout and drop-path are off meanwhile.

    Args:
        source: the model that was ported: a torch module, a MindSpore cell (PyNative mode), a Keras
            2 or 3 model, a layer of this package or several of them in sequence.
        port: its port, of any of these.
        batch: what both are called with: an array or tensor, a tuple or a mapping of them. In the
            source's layout, it is carried into the port's; with `source_batch`, it is the port's.
        steps: training steps, with plain gradient descent between them; 0 for inference alone.
        map: names of the port's layers by the source's, where they can't be found.
        source_batch: the source's batch, where the two are given separately.
        loss: what is differentiated, of the outputs: one function for both, or one for each. By
            default the outputs are weighted by fixed random numbers.

    Raises:
        TypeError: a model that is none, holds no batch norm, or can't be watched.
        ValueError: the map names a layer that isn't there; steps below 0, or a batch of no numbers.

    >>> import batchnorm as bn
    >>> x = np.random.default_rng(0).normal(size=(8, 3, 4, 4)).astype(np.float32)
    >>> port = bn.mindspore.BatchNorm2d(3, momentum=0.1).set_train()
    >>> found = bn.diagnose(bn.torch.BatchNorm2d(3), port, x)
    >>> found.causes, found.findings[0].fix
    (['momentum-inverted'], 'momentum=0.9')
    """
    losses = loss if isinstance(loss, tuple) else (loss, loss)
    if len(losses) != 2 or not all(each is None or callable(each) for each in losses):
        raise InvalidType(
            f"loss is a function of the outputs, or two of them, one for each model, not {loss!r}"
        )
    mine, own = losses
    (_, room), (_, other) = room_of(source), room_of(port)
    given = batch if source_batch is None else source_batch
    last, own_last = is_last(room, room.eager(source)), is_last(other, other.eager(port))
    if source_batch is None:
        batch = carried(batch, last, own_last)
    elif _same(source_batch, batch):
        own_last = last
    runs = {"source": (source, given, mine, last), "port": (port, batch, own, own_last)}
    order = ["source", "port"]
    if getattr(room, "KEEPS_MEMORY", False) and not getattr(other, "KEEPS_MEMORY", False):
        order.reverse()  # else what the one keeps would stand beside what the other takes
    found = {}
    for side in order:
        model, x, differentiated, channels_last = runs[side]
        found[side] = record(model, x, steps=steps, loss=differentiated, last=channels_last)
    return compare_recordings(found["source"], found["port"], map)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Mapping | tuple | list) or isinstance(b, Mapping | tuple | list):
        return False
    one, other = plain(a), plain(b)
    return one.shape == other.shape and bool(np.array_equal(one, other))
