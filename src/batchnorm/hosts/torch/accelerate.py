"""A model's own batch norms computing with our kernel, and the way back: `accelerate`, `restore`.

A module gets a forward of its own and keeps its class: parameters, buffers, hooks, names and
whoever holds the module stay as they are. Not here: what computes (`batchnorm.py`, `derived.py`),
which modules are taken (`candidates.py`), and the fusing of what follows (`fuse.py`).
"""

from __future__ import annotations

from typing import Any

from torch import nn

from batchnorm.errors import InvalidType
from batchnorm.hosts.torch import fuse as fusing
from batchnorm.hosts.torch.batchnorm import SyncBatchNorm
from batchnorm.hosts.torch.bound import bind, keep_source, unbind
from batchnorm.hosts.torch.candidates import Candidate, candidates, tell

__all__ = ["accelerate", "restore", "take"]


def accelerate(model: Any, fuse: bool = False, *, verbose: bool = True) -> Any:
    """Let a torch model's batch norms compute with our kernel; the model itself is changed.

    y = (x - mean) / sqrt(var + eps) * weight + bias, and with fuse relu(y) or relu(y + addend)

    Taken are BatchNorm1d, 2d, 3d, SyncBatchNorm, and classes derived from them: one that adds to
    batch norm in a forward of its own (an activation, a split of the batch) keeps all of that, and
    the batch norm that it calls is ours; whether it calls one is tried on a small input. Each keeps
    its class, so type(m) and isinstance say what they said, but for SyncBatchNorm: ours is no
    instance of torch's (ask isinstance(m, nn.modules.batchnorm._BatchNorm)), which
    DistributedDataParallel refuses to have on a CPU.

    Args:
        model: any torch.nn.Module.
        fuse: whether a ReLU that follows a batch norm, also after an addition, is computed with
            it: where torch.fx can trace the `forward` that calls them, in training and evaluation
            mode alike, and neither has hooks. A module that is changed later (another ReLU, a hook,
            an attribute) computes as changed; only of variables outside of it that a `forward`
            reads it is taken that they stay.
        verbose: whether to say on stderr, in one line, how many batch norms were taken, and which
            not and why.

    A shallow copy (copy.copy) of a batch norm computes with the settings of the one it was copied
    from; copy.deepcopy and pickle give it its own.

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
    >>> "forward" in vars(net[0]), "forward" in vars(restore(net)[0])
    (True, False)

    Source: torch 2.13.0, torch/nn/modules/batchnorm.py.
    """
    found = candidates(model)
    take(found)
    if fuse:
        fusing.fuse(model)
    keep_source(model)
    tell("accelerate", found, verbose)
    return model


def take(found: list[Candidate], ported: bool | None = None) -> None:
    """Bind each that can be taken; `ported` None leaves the rule of those that have one."""
    for one in found:
        if one.forward is None:
            continue
        module = one.module
        if type(module) is nn.SyncBatchNorm:
            module.__class__ = SyncBatchNorm
        own = vars(module).get("forward")
        if ported is None and own is not None:
            continue
        unbind(module)
        bind(module, one.forward(module, bool(ported)))


def restore(model: Any) -> Any:
    """Give a model's batch norms torch's own forward and rule again; the model itself is changed.

    y = (x - mean) / sqrt(var + eps) * weight + bias

    Args:
        model: what `accelerate` or `port` has changed; anything else stays as it is.

    Shape: as before.
    Dtypes: as before.
    State: the same keys, the same tensors.

    Raises:
        TypeError: `model` is no torch.nn.Module.

    >>> import torch
    >>> net = accelerate(torch.nn.Sequential(torch.nn.BatchNorm1d(2)), verbose=False)
    >>> "forward" in vars(restore(net)[0])
    False

    Source: torch 2.13.0, torch/nn/modules/batchnorm.py.
    """
    if not isinstance(model, nn.Module):
        kind = f"{type(model).__module__}.{type(model).__qualname__}"
        raise InvalidType(f"expected a torch.nn.Module, but got {kind}")
    for module in model.modules():
        own = vars(module).get("forward")
        if getattr(own, "ported", False):
            for name in ("semantics", "trainable"):
                vars(module).pop(name, None)
        unbind(module)
        if type(module) is SyncBatchNorm:
            module.__class__ = nn.SyncBatchNorm
    return model
