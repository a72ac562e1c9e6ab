"""Recomputed running statistics ("precise batch norm"): `recalibrate`.

Not here: how a framework's model tells its batch norms' inputs (its room's facet `live`), and the
statistics themselves (`core`). Source of the idea: Wu and Johnson 2021, https://arxiv.org/abs/2105.07576.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from batchnorm import core
from batchnorm.arrays import as_array
from batchnorm.core.replicas import Replicas
from batchnorm.errors import InvalidType, InvalidValue
from batchnorm.frameworks import current
from batchnorm.hosts.gathered import Gathered
from batchnorm.layer import Layer
from batchnorm.read import find, framework_of, rule_of
from batchnorm.vocabulary import Array, Mode

__all__ = ["recalibrate"]


class Tally:
    """The moments of everything that one layer has been given."""

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        self.moments: core.Moments | None = None
        self.settings: core.Settings | None = None

    def add(self, x: Array, mask: Any = None) -> None:
        """Merge the moments of one more input, cast and weighted as the layer would."""
        found = self.layer.decide(x.shape, x.dtype, True, mask)
        if found.passes or found.settings.mode is Mode.RUNNING:
            return
        axes = found.settings.channel_axes
        axes = axes[1:] if found.settings.groups > 1 else axes
        inner = found.input(x)
        moments = core.reduce(inner, axes, None if mask is None else found.weights(mask, inner))
        self.moments = moments if self.moments is None else core.merge(self.moments, moments)
        self.settings = found.settings

    def join(self, replicas: Replicas) -> None:
        """Merge with what the same layer was given elsewhere."""
        own, mean = self.moments, self.layer._value("running_mean")
        assert mean is not None
        if own is None:
            nothing = np.zeros(mean.size)
            own = core.Moments(nothing, nothing + np.nan, nothing, nothing)
        self.moments = replicas.merged(own)
        if self.settings is None:  # what an input would have said, had there been one
            found = self.layer.decide(self.layer.example_shape(), mean.dtype, True)
            self.settings = found.settings

    def values(self) -> dict[str, Array]:
        """The true statistics under the layer's own names."""
        assert self.moments is not None
        assert self.settings is not None
        moments, settings = self.moments, self.settings
        with np.errstate(all="ignore"):
            mean = moments.mean + moments.residual
            left = moments.count > settings.correction  # one value has no unbiased variance
            var = np.where(left, moments.variance(settings.correction), moments.variance())
            stddev = np.sqrt(var + settings.epsilon)
        by_role = {
            "running_mean": mean,
            "running_var": var,
            "stddev": stddev,
            "renorm_mean": mean,
            "renorm_stddev": stddev,
        }
        state = self.layer.state
        roles = {name: self.layer.STATE[name].role for name in state}
        return {
            name: by_role[role].reshape(state[name].shape)
            for name, role in roles.items()
            if role in by_role
        }


def recalibrate(
    model_or_layer: Any,
    batches: Iterable[Any],
    *,
    call: Callable[[Any, Any], Any] | None = None,
    workers: Any = None,
    progress: bool = True,
) -> dict[str, core.Moments]:
    """Replace running statistics by the true ones of a data set, in one pass over it.

    mean = sum(x) / n,  var = sum((x - mean)^2) / (n - correction), over all values of all batches

    Each batch is run once. In that pass every batch norm normalizes by the batch's own statistics,
    as in training, so what reaches a layer deep inside a model is what reaches it in training; all
    other layers are in the mode that they are in (Keras: inference), and no gradients are taken.
    The moments of each layer's inputs are merged over batches by Chan's rule, so that n counts
    every value alike, whatever the batches' sizes; for one layer the result depends on how the
    data are cut into batches by rounding alone, for a model it does as training does. The variance
    has the dialect's denominator: n - 1 in torch, MindSpore and Keras 2's fused kernel, else n.
    With renorm, its averages become the true ones too.

    Not touched: frozen layers (Keras' trainable=False, MindSpore's use_batch_statistics=False,
    FrozenBatchNorm2d), layers without running statistics, `num_batches_tracked`. If anything
    raises, the model is as it was.

    Args:
        model_or_layer: a layer of this package, a torch module, a Keras 2 or 3 model, or a
            MindSpore cell (in PyNative mode).
        batches: inputs; of a tuple (in torch and MindSpore of a list too) the first element. In
            torch a mapping's entries are given by name, where the model's forward has arguments of
            all these names, else the mapping is the one argument.
        call: how a batch is given to a model, as `call(model, batch)`, where that is not enough.
        workers: processes that each recalibrate the same model on a part of the data set: an
            mpi4py communicator, a torch.distributed process group, or `core`'s Replicas. All get
            the statistics of the whole.
        progress: whether to show a bar on stderr, where that is a terminal.

    Shape: as the layers have it.
    State: running statistics in their own types; sums are taken as in `core.forward`.

    Raises:
        TypeError: neither a layer nor a model; workers that are none.
        ValueError: no batches, or none that reached a batch norm.

    >>> import batchnorm as bn
    >>> layer = bn.torch.BatchNorm1d(1)
    >>> data = np.float32([[1], [2], [6], [7]])
    >>> found = recalibrate(layer, [data[:3], data[1:]], progress=False)
    >>> layer.state["running_mean"], layer.state["running_var"]
    (array([4.], dtype=float32), array([6.8], dtype=float32))

    Source: Wu and Johnson 2021, https://arxiv.org/abs/2105.07576, section 3.
    """
    replicas = _replicas(workers)
    if isinstance(model_or_layer, Layer):
        return _layer(model_or_layer, batches, replicas, progress)
    framework = framework_of(model_or_layer).room("live")
    layers = {
        path: layer for path, layer in find(model_or_layer).items() if framework.recalibrates(layer)
    }
    if not layers:
        raise InvalidValue(
            f"{type(model_or_layer).__qualname__} holds no batch norm with running statistics that "
            "aren't frozen, so there is nothing to recalibrate"
        )
    tallies = {path: Tally(rule_of(layer)) for path, layer in layers.items()}

    def tell(path: str, x: Array, mask: Any) -> None:
        tallies[path].add(x, mask)

    with framework.watched(layers, tell):
        for batch in _shown(batches, progress):
            (call or framework.run)(model_or_layer, batch)
    found = _joined(tallies, replicas)
    for path in found:
        framework.write(layers[path], tallies[path].values())
    return found


def _layer(
    layer: Layer, batches: Iterable[Any], replicas: Replicas | None, progress: bool
) -> dict[str, core.Moments]:
    tally = Tally(layer)
    for batch in _shown(batches, progress):
        x = as_array(batch[0] if isinstance(batch, tuple) else batch, "a batch")
        layer.ensure_built(x.shape)
        tally.add(x)
    if layer._value("running_mean") is None:
        raise InvalidValue(f"{layer!r} has no running statistics to recalibrate")
    found = _joined({"": tally}, replicas)
    layer.load_state({**layer.state, **tally.values()})
    return found


def _joined(tallies: dict[str, Tally], replicas: Replicas | None) -> dict[str, core.Moments]:
    """What was found, of all workers, by path; refuses nothing at all, names what had nothing."""
    if replicas is not None:
        for tally in tallies.values():
            tally.join(replicas)
    found = {
        path: tally.moments
        for path, tally in tallies.items()
        if tally.moments is not None and (tally.moments.count > 0).all()
    }
    if not found:
        raise InvalidValue(
            "no batch has reached a batch norm: batches was empty, its layers are frozen, or the "
            "model doesn't call them (in MindSpore hooks run in PyNative mode only)"
        )
    left = [path for path in tallies if path not in found]
    if left:
        warnings.warn(
            f"no batch has reached {', '.join(left)}: their statistics stay as they were",
            stacklevel=3,
        )
    return found


def _replicas(workers: Any) -> Replicas | None:
    if workers is None or isinstance(workers, Gathered):
        return workers
    if hasattr(workers, "merged"):
        return workers  # type: ignore[no-any-return]
    if hasattr(workers, "allgather") and hasattr(workers, "Get_rank"):  # mpi4py
        return Gathered(workers.allgather)
    rooms = [record.room("groups") for record in current() if record.has("groups")]
    for room in rooms:
        gather = room.gathering(workers)
        if gather is not None:
            return Gathered(gather)
    accepted = " or ".join(("an mpi4py communicator", *(room.ACCEPTED for room in rooms)))
    raise InvalidType(f"workers must be {accepted}, but got {type(workers).__qualname__}")


def _shown(batches: Iterable[Any], progress: bool) -> Iterator[Any]:
    """The batches, with a bar on stderr."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    hidden = not progress or not console.is_terminal
    yield from track(batches, "Recalibrating", console=console, disable=hidden, transient=True)
