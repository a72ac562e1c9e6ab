"""A model's own batch norms computing with our kernel, and the way back: `accelerate`, `restore`.

A module's class is exchanged for ours and nothing else: parameters, buffers, hooks, names and
whoever holds the module stay as they are. Not here: the classes (`batchnorm.py`) and the fusing of
what follows a batch norm (`fuse.py`).
"""

from __future__ import annotations

from typing import Any

from torch import nn

from batchnorm.errors import InvalidType
from batchnorm.hosts.torch import fuse as fusing
from batchnorm.hosts.torch.batchnorm import OURS, THEIRS

__all__ = ["accelerate", "batch_norms", "restore"]


def accelerate(model: Any, fuse: bool = False) -> Any:
    """Let a torch model's batch norms compute with our kernel; the model itself is changed.

    y = (x - mean) / sqrt(var + eps) * weight + bias, and with fuse relu(y) or relu(y + addend)

    Args:
        model: any torch.nn.Module. Its BatchNorm1d, 2d, 3d and SyncBatchNorm become ours; classes
            derived from them stay as they are.
        fuse: whether a ReLU that follows a batch norm, also after an addition, is computed with
            it: where torch.fx can trace the `forward` that calls them, in training and evaluation
            mode alike, and neither has hooks. A module that is changed later (another ReLU, a hook,
            an attribute) computes as changed; only of variables outside of it that a `forward`
            reads it is taken that they stay.

    `restore` the model first for tools that ask for torch's exact classes (fuse_modules of
    torch.ao.quantization) or compile the source of a fused `forward` (torch.jit.script).

    Shape: as before.
    Dtypes: as before; what the kernel doesn't take (other devices, for one) torch computes.
    State: the same keys, the same tensors. `restore` undoes it.

    Raises:
        TypeError: `model` is no torch.nn.Module.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.ReLU())
    >>> x = torch.randn(2, 3, 4, 4)
    >>> wanted = net(x)
    >>> bool(torch.allclose(accelerate(net, fuse=True)(x), wanted, atol=1e-6))
    True
    >>> type(restore(net)[0])
    <class 'torch.nn.modules.batchnorm.BatchNorm2d'>

    Source: torch 2.13.0, torch/nn/modules/batchnorm.py.
    """
    for found in batch_norms(model):
        found.__class__ = OURS.get(type(found), type(found))
    if fuse:
        fusing.fuse(model)
    return model


def restore(model: Any) -> Any:
    """Give a model's batch norms torch's own class and rule again; the model itself is changed.

    y = (x - mean) / sqrt(var + eps) * weight + bias

    Args:
        model: what `accelerate` or `port` has changed; anything else stays as it is.

    Shape: as before.
    Dtypes: as before.
    State: the same keys, the same tensors.

    Raises:
        TypeError: `model` is no torch.nn.Module.

    >>> import torch
    >>> net = accelerate(torch.nn.Sequential(torch.nn.BatchNorm1d(2)))
    >>> type(restore(net)[0])
    <class 'torch.nn.modules.batchnorm.BatchNorm1d'>

    Source: torch 2.13.0, torch/nn/modules/batchnorm.py.
    """
    found = batch_norms(model)
    fusing.split(model)
    for one in found:
        one.__class__ = THEIRS.get(type(one), type(one))
        for name in ("semantics", "_trainable"):
            vars(one).pop(name, None)
    return model


def batch_norms(model: Any) -> list[Any]:
    """A model's batch norms of torch's own classes or ours; none of a class derived from them.

    Raises:
        TypeError: `model` is no torch.nn.Module.
    """
    if not isinstance(model, nn.Module):
        kind = f"{type(model).__module__}.{type(model).__qualname__}"
        raise InvalidType(f"expected a torch.nn.Module, but got {kind}")
    return [one for one in model.modules() if type(one) in OURS or type(one) in THEIRS]
