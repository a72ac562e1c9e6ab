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
from batchnorm.core.running import update
from batchnorm.vocabulary import Array, Mode

__all__ = ["Processes", "find"]


def find(group: Any = None) -> Processes | None:
    """The processes of a group, None where there is but one or torch.distributed isn't in use."""
    if not dist.is_available() or not dist.is_initialized():
        return None
    group = dist.group.WORLD if group is None else group
    return Processes(group) if dist.get_world_size(group) > 1 else None


class Processes:
    """All processes of a group; each method is called by all of them, in one order."""

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

    def forward(
        self,
        x: Array,
        gamma: Array | None,
        beta: Array | None,
        running: core.Running | None,
        settings: core.Settings,
    ) -> tuple[Array, core.Running | None, core.Saved]:
        """As `core.forward` on the joined batch, of which x is this process's part."""
        axes = settings.channel_axes
        moments = self.merged(core.reduce(x, axes))
        var = moments.variance()
        if settings.mode is Mode.BATCH_AND_UPDATE and running is not None:
            averaged = moments.variance(settings.correction)
            running = update(running, moments.mean, averaged, settings)
        with np.errstate(all="ignore"):
            inv_std = 1.0 / np.sqrt(var + settings.epsilon)
        y = core.empty_like(x)
        core.normalize(x, axes, moments.mean, moments.residual, inv_std, gamma, beta, y)
        stats = np.array([moments.mean, moments.residual, inv_std])
        return y, running, core.Saved(x, settings, gamma, stats, moments.count)

    def backward(self, saved: core.Saved, dy: Array) -> tuple[Array, Array, Array]:
        """As `core.backward` on the joined batch; dgamma and dbeta are this process's parts."""
        axes, stats = saved.settings.channel_axes, (saved.mean, saved.residual, saved.inv_std)
        own = np.stack(core.reduce_gradient(saved.x, dy, axes, *stats))
        sums = sum(part.numpy() for part in self.gathered(torch.from_numpy(own)))
        with np.errstate(all="ignore"):
            constant, slope = np.asarray(sums) / np.asarray(saved.count, np.float64)
        dx = core.empty_like(saved.x)
        core.input_gradient(saved.x, dy, axes, *stats, saved.gamma, constant, slope, None, dx)
        return dx, own[1], own[0]


class _Total(Function):
    """The sum over processes; its gradient is the sum of their gradients."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, processes: Processes) -> Tensor:
        ctx.processes = processes
        return torch.stack(processes.gathered(values)).sum(0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return _Total.apply(gradient, ctx.processes), None
