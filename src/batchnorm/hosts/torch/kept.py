"""What a compiled backward must be given: `kept`.

torch.compile's partitioner lets a backward compute cheap things again from the inputs of the graph,
buffers among them. What was read from a buffer that the forward then moves would be computed from
the moved one; the result of an operator of one's own is saved instead. (Inferred with torch 2.13.0:
renorm's gradients were wrong when compiled, and are right since r and d pass through `kept`.)
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["kept"]


def kept(values: Tensor) -> Tensor:
    """The values, from a copy while torch.compile traces; they have no gradient."""
    if torch.compiler.is_compiling() and not torch.compiler.is_exporting():
        copied: Tensor = _copied(values)
        return copied
    return values


@torch.library.custom_op("batchnorm::kept", mutates_args=())
def _copied(values: Tensor) -> Tensor:
    return values.clone()


@_copied.register_fake
def _(values: Tensor) -> Tensor:
    return torch.empty_like(values)
