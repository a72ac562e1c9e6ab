"""Batch norms whose statistics and parameters are buffers, fixed: read as layers in evaluation.

Object detectors have such classes (torchvision's and detectron2's FrozenBatchNorm2d, DETR's, image
models' FrozenBatchNormAct2d), each with a forward of its own, so the one at hand is asked: for its
eps on a copy whose variance is 0, and on two inputs whether it computes what a batch norm does.
Not here: torch's own classes (`live.py`). No framework is imported.
"""

from __future__ import annotations

import copy
import sys
from typing import Any

import numpy as np

from batchnorm.errors import InvalidType
from batchnorm.frameworks.torch import layers as torch_dialect
from batchnorm.frameworks.torch.values import to_array
from batchnorm.layer import Layer

__all__ = ["is_frozen", "read"]

FROZEN = ("weight", "bias", "running_mean", "running_var")
CLOSE = 0.01
"""Within this an eps that was found is the one that the module says."""


def is_frozen(obj: Any) -> bool:
    """Whether a module holds a batch norm's four vectors as buffers, and no parameters."""
    buffers = {name for name, value in obj.named_buffers(recurse=False) if value is not None}
    parameters = next(obj.parameters(recurse=False), None)
    return parameters is None and buffers - {"num_batches_tracked"} == set(FROZEN)


def read(obj: Any) -> Layer:
    """The layer that computes as the module does, without what its children do.

    Raises:
        TypeError: it computes something else.
    """
    torch: Any = sys.modules["torch"]
    arrays = {name: to_array(getattr(obj, name)) for name in FROZEN}
    asked = _alone(torch, obj)
    eps = _eps(torch, obj, asked)
    layer = torch_dialect.BatchNorm2d(len(arrays["weight"]), eps, 0.0, dtype=arrays["weight"].dtype)
    for name, value in arrays.items():
        setattr(layer, name, value)
    layer.eval()
    own = asked.weight
    offset = own.new_tensor(arrays["running_mean"].astype(np.float64)).reshape(1, -1, 1, 1)
    for scale in (1.0, -2.0):
        x = offset + scale * torch.arange(1, 5).to(own).reshape(1, 1, 2, 2)
        with torch.no_grad():
            theirs = to_array(asked(x)).astype(np.float64)
        ours = layer(to_array(x)).astype(np.float64)
        precision = 64 * max(float(torch.finfo(own.dtype).eps), 1e-7)
        size = np.abs(ours) + np.abs(arrays["running_mean"] * arrays["weight"])[:, None, None] + 1
        if theirs.shape != ours.shape or not (np.abs(theirs - ours) <= precision * size).all():
            raise InvalidType(
                f"{type(obj).__qualname__} has the buffers of a frozen batch norm, but doesn't "
                f"compute (x - mean) / sqrt(var + {eps}) * weight + bias"
            )
    return layer


def _alone(torch: Any, obj: Any) -> Any:
    """A copy whose children, an activation for one, do nothing."""
    made = copy.deepcopy(obj)
    for name, _ in obj.named_children():
        setattr(made, name, torch.nn.Identity())
    return made


def _eps(torch: Any, obj: Any, asked: Any) -> float:
    """What stands beside a variance of 0: the module's own number where it has one that fits."""
    known = getattr(obj, "eps", None)
    known = float(known) if isinstance(known, int | float) else None
    other = copy.deepcopy(asked).double()
    fill = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 0.0}
    for name, value in fill.items():
        getattr(other, name).fill_(value)
    x = torch.ones(1, len(other.weight), 2, 2, dtype=torch.float64, device=other.weight.device)
    try:
        with torch.no_grad():
            y = float(other(x).double().mean())
    except Exception:  # a foreign forward may not take float64
        return known or 0.0
    if not np.isfinite(y) or y <= 0:  # divided by nothing
        return 0.0
    found = float(y**-2)
    if known is not None and abs(found - known) <= CLOSE * known:
        return known
    short = float(f"{found:.3g}")
    return short if abs(found - short) <= 1e-4 * short else found
