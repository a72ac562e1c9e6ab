"""Batch statistics of several processes together, through torch.distributed.

Every process sends its moments and merges all of them in one order (Chan), so that all compute
with the same bits, and as one process with the joined batch would. Batches may differ in size and
be empty on some; gradients of gamma and beta stay each process's own, which together are those of
the joined batch (DistributedDataParallel averages them, as for any parameter). Any engine of
torch.distributed carries it; tested with gloo. A process that dies makes the others raise the
engine's RuntimeError.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function

from batchnorm import core
from batchnorm.vocabulary import Array

__all__ = ["OUTSIDE", "Processes", "find", "outside"]

OUTSIDE = "batch statistics of several processes are exchanged outside of compiled graphs"


def outside() -> bool:
    """Whether a synchronised call must leave the graph that torch.compile makes: `OUTSIDE`."""
    return torch.compiler.is_compiling() and dist.is_available() and dist.is_initialized()


def find(group: Any = None) -> Processes | None:
    """The processes of a group, None where there is but one or torch.distributed isn't in use."""
    if not dist.is_available() or not dist.is_initialized():
        return None
    group = dist.group.WORLD if group is None else group
    return Processes(group) if dist.get_world_size(group) > 1 else None


class Processes:
    """`core.Replicas` of a group; each method is called by all of them, in one order."""

    def __init__(self, group: Any) -> None:
        self.group = group

    def gathered(self, values: Tensor) -> list[Tensor]:
        """Every process's values, in the order of ranks."""
        values = values.detach().contiguous()
        found = [torch.empty_like(values) for _ in range(dist.get_world_size(self.group))]
        dist.all_gather(found, values, group=self.group)
        return found

    def total(self, values: Tensor) -> Tensor:
        """The sum over processes, which can be differentiated any number of times."""
        result: Tensor = _Total.apply(values, self)
        return result

    def merged(self, moments: core.Moments) -> core.Moments:
        """The moments of all batches together."""
        rows = [moments.count, moments.mean, moments.residual, moments.m2]
        parts = [part.numpy() for part in self.gathered(torch.from_numpy(np.stack(rows)))]
        return reduce(core.merge, [core.Moments(*part) for part in parts])

    def summed(self, values: Array) -> Array:
        """The sum of every process's values."""
        parts = self.gathered(torch.from_numpy(np.asarray(values, np.float64)))
        return np.asarray(sum(part.numpy() for part in parts))


class _Total(Function):
    """The sum over processes; its gradient is the sum of their gradients."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, processes: Processes) -> Tensor:
        ctx.processes = processes
        return torch.stack(processes.gathered(values)).sum(0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return _Total.apply(gradient, ctx.processes), None
