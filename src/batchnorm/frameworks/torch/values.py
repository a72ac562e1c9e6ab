"""Torch's tensors as arrays: copied, or on their own memory.

Not here: whose tensors they are (`live.py`). No framework is imported.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from batchnorm.vocabulary import Array, as_dtype

__all__ = ["array_of", "to_array"]


def to_array(tensor: Any) -> Array:
    """A copy of a tensor's values."""
    tensor = tensor.detach().cpu()
    if str(tensor.dtype) == "torch.bfloat16":
        return np.array(tensor.float().numpy().astype(as_dtype("bfloat16")))
    return np.array(tensor.numpy())


def array_of(tensor: Any) -> Any:
    """A tensor's values on its own memory; None for what is no tensor, or NumPy takes by itself.

    bfloat16, which NumPy hasn't, is taken by its bits.
    """
    if not hasattr(tensor, "detach"):
        return None
    plain = tensor.detach().cpu()
    if str(plain.dtype) == "torch.bfloat16":
        bits = plain.view(sys.modules["torch"].int16)
        return bits.numpy().view(as_dtype("bfloat16"))
    return plain.numpy()
