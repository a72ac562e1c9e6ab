"""The kernel's whole tasks on tensors, each in one call, without arrays in between.

Between two convolutions nothing of ours is in the processor's caches, so that every call into torch
or NumPy costs ten times what it costs in a loop: a batch norm's bookkeeping took longer than its
arithmetic (benchmarks/resnet50_step.py). The kernel asks torch's own C functions what a tensor is
and checks all that it relies on; what doesn't fit gets None and goes through `core.forward` and
`core.backward`. Not here: autograd (`kernel.py`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from batchnorm.core import kernel
from batchnorm.hosts.torch.kernel_call import KernelCall
from batchnorm.hosts.torch.tensors import DTYPES, PLAIN, empty_like, plain
from batchnorm.vocabulary import Mode

__all__ = ["backward", "forward"]


def _on_tensors() -> Any:
    """None with the reference, which takes arrays, and with a torch that describes no tensors."""
    make = getattr(kernel.chosen, "on_tensors", None)
    described = hasattr(Tensor, "__dlpack_c_exchange_api__")
    return make(*PLAIN) if make and described else None


TASKS = _on_tensors()


def forward(
    x: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    addend: Tensor | None,
    call: KernelCall,
    least: int = 1,
) -> Tensor | None:
    """As `core.forward`, with the buffers moved and `call.stats` and `call.whole` set.

    A batch needs at least `least` values per channel.
    """
    settings = call.settings
    axes = settings.channel_axes
    if TASKS is None or call.processes is not None or not settings.plain or len(axes) != 1:
        return None
    if not x.is_cpu or x.dtype not in DTYPES or x.layout is not torch.strided:
        return None
    y = empty_like(x)
    mode = settings.mode
    batch = mode is not Mode.RUNNING
    mean, var = (None, None) if mode is Mode.BATCH else (call.mean, call.var)
    call.stats = TASKS.forward(
        x,
        y,
        addend,
        call.relu,
        gamma,
        beta,
        mean,
        var,
        call.batches if batch else None,
        axes[0],
        batch,
        least,
        settings.epsilon,
        settings.exponential_average_factor,
        settings.correction,
    )
    if call.stats is None:
        return None
    if batch:
        call.count = x.numel() // x.shape[axes[0]]
    call.whole, call.batches = True, None
    return y


def backward(
    dy: Tensor, x: Tensor, gamma: Tensor | None, y: Tensor | None, needs: Any, call: KernelCall
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None] | None:
    """As `core.backward`: dx, and what is needed of dgamma, dbeta and the addend's gradient."""
    if not call.whole or not plain(x):
        return None  # hooks on saved tensors may give others back
    dx = empty_like(x)
    daddend = empty_like(x) if needs[3] else None
    dgamma = torch.empty_like(gamma) if gamma is not None and needs[1] else None
    dbeta = None
    if needs[2]:
        dbeta = _vector_like(x, call) if gamma is None else torch.empty_like(gamma)
    settings = call.settings
    done = TASKS.backward(
        x,
        dy,
        y,
        dx,
        daddend,
        gamma,
        dgamma,
        dbeta,
        call.stats,
        settings.channel_axes[0],
        call.count is not None,
        settings.epsilon,
    )
    return (dx, dgamma, dbeta, daddend) if done else None


def _vector_like(x: Tensor, call: KernelCall) -> Tensor:
    """Memory for one value per channel, of at least 32 bits."""
    kind = torch.float64 if x.dtype is torch.float64 else torch.float32
    return torch.empty(x.shape[call.settings.channel_axes[0]], dtype=kind)
