"""The choice for one call: our kernel, its operators, torch's own batch norm, or formulas.

Not here: what a dialect's settings are (`rules.py`) and the modules that keep state.
"""

from __future__ import annotations

import torch
from torch import Tensor

from batchnorm import core
from batchnorm.hosts.torch import formulas, native, operators
from batchnorm.hosts.torch.formulas import Adjusted, Buffers
from batchnorm.hosts.torch.kernel import Normalize, forward
from batchnorm.hosts.torch.kernel_call import KernelCall
from batchnorm.hosts.torch.processes import Processes
from batchnorm.hosts.torch.tensors import DTYPES, PLAIN, takes

__all__ = ["add_and_relu", "normalize"]


def normalize(
    x: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    buffers: Buffers,
    settings: core.Settings,
    *,
    addend: Tensor | None = None,
    relu: bool = False,
    weights: Tensor | None = None,
    adjusted: Adjusted | None = None,
    processes: Processes | None = None,
    dtype: torch.dtype | None = None,
    batches: Tensor | None = None,
) -> Tensor:
    """relu(batch_norm(x) + addend), with the buffers and the number of `batches` moved.

    While torch.compile traces, the settings' factor may be a tensor.
    """
    plain = (
        weights is None
        and adjusted is None
        and settings.renorm is None
        and settings.groups == 1
        and (dtype is None or dtype is x.dtype)
    )
    fused = relu and processes is None and _fits(addend, x)
    other = addend if fused else None
    compiling = torch.compiler.is_compiling()
    ours = plain and not compiling and takes(x, empty=processes is not None)
    if batches is not None and not ours:
        batches.add_(1)
    if plain and compiling:
        cpu = x.device.type == "cpu" and x.dtype in DTYPES and not torch.compiler.is_exporting()
        if cpu and processes is None and x.numel() > 0:
            y = operators.normalize(x, gamma, beta, other, buffers, settings, fused)
            return y if fused else add_and_relu(y, addend, relu)
    elif ours:
        mean, var = buffers.mean, buffers.var
        call = KernelCall(settings, mean, var, fused, other is not None, processes, batches)
        run = Normalize.apply if torch.is_grad_enabled() else forward
        y = run(x, gamma, beta, other, call)
        return y if fused else add_and_relu(y, addend, relu)
    if plain and processes is None and native.suits(x, settings):
        return add_and_relu(native.normalize(x, gamma, beta, buffers, settings), addend, relu)
    y = formulas.normalize(
        x,
        gamma,
        beta,
        buffers,
        settings,
        weights=weights,
        adjusted=adjusted,
        processes=processes,
        dtype=dtype,
    )
    return add_and_relu(y, addend, relu)


def add_and_relu(y: Tensor, addend: Tensor | None, relu: bool) -> Tensor:
    """What follows the normalization, in torch's own operations."""
    y = y if addend is None else y + addend
    return torch.relu(y) if relu else y


def _fits(addend: Tensor | None, x: Tensor) -> bool:
    """Whether the kernel can add it: another shape would be broadcast, another type promoted."""
    return addend is None or (
        type(addend) in PLAIN
        and addend.layout is torch.strided
        and addend.shape == x.shape
        and addend.dtype is x.dtype
        and addend.device == x.device
    )
