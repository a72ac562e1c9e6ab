"""What one forward of the kernel is done with besides tensors that have gradients: `KernelCall`.

Not here: the doing, on tensors as they are (`tasks.py`) or on arrays (`kernel.py`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from batchnorm import core
from batchnorm.hosts.torch.processes import Processes
from batchnorm.vocabulary import Array

__all__ = ["KernelCall"]


class KernelCall:
    """What a forward is done with besides tensors that have gradients, and what it leaves.

    `mean`, `var` and `batches` are the module's own buffers; the forward moves them in place.
    `addend` says whether there is one, which needs `relu`; neither is there with several processes.
    """

    __slots__ = (
        "addend",
        "batches",
        "count",
        "mean",
        "processes",
        "relu",
        "settings",
        "stats",
        "var",
        "whole",
        "y",
    )

    def __init__(
        self,
        settings: core.Settings,
        mean: Tensor | None,
        var: Tensor | None,
        relu: bool,
        addend: bool,
        processes: Processes | None,
        batches: Tensor | None = None,
    ) -> None:
        self.settings, self.mean, self.var, self.batches = settings, mean, var, batches
        self.relu, self.addend, self.processes = relu, addend, processes
        self.stats: Array | None = None
        self.count: Any = None
        self.whole = False  # done by one of the kernel's whole tasks
        self.y: Tensor | None = None  # where it is done before autograd knows of it

    def running(self) -> core.Running | None:
        """The buffers as the core takes them."""
        if self.mean is None or self.var is None:
            return None
        return core.Running(_buffer(self.mean), _buffer(self.var))

    def result(self, x: Array) -> Array | None:
        """Memory laid out as x; alone, the kernel finds its own."""
        return None if self.processes is None else core.empty_like(x)

    def move(self, running: core.Running | None) -> None:
        """Store what the core gave in the buffers."""
        if running is not None and self.mean is not None and self.var is not None:
            for own, value in ((self.mean, running.mean), (self.var, running.var)):
                own.copy_(torch.from_numpy(value).reshape(own.shape))


def _buffer(tensor: Tensor) -> Array:
    """A buffer whose new value is rounded once: of 16 bits, in float64 until it is stored."""
    narrow = tensor.dtype not in (torch.float32, torch.float64)
    wide = tensor.detach().to(torch.float64) if narrow else tensor.detach().resolve_neg()
    return np.asarray(wide.reshape(-1).numpy())
