"""Another dialect's rule for torch's own modules, which `port` gave it: `forward`, `normalized`.

`read` gives such a module as the dialect's layer.

A ported module has two attributes more, which count at every call: `semantics`, and `trainable`
for Keras' freezing. Not here: the rules (`rules.py`) and the arithmetic (`normalize.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from batchnorm import core
from batchnorm.errors import InvalidValue
from batchnorm.frameworks import find
from batchnorm.frameworks.torch.calls import RANKS
from batchnorm.hosts.new_layer import new_layer
from batchnorm.hosts.torch import rules
from batchnorm.hosts.torch.formulas import Buffers
from batchnorm.hosts.torch.normalize import normalize
from batchnorm.hosts.torch.processes import Processes
from batchnorm.layer import Layer
from batchnorm.vocabulary import Array, Mode

__all__ = ["check", "forward", "normalized", "rank_of", "read"]

NAMES = {"gamma": "weight", "beta": "bias"} | {r: r for r in ("running_mean", "running_var")}
"""Role -> torch's name."""


def forward(
    owner: Any, x: Tensor, addend: Tensor | None, relu: bool, others: Processes | None
) -> Tensor:
    """relu(batch_norm(x) + addend) of a module, whose batch is counted."""
    owner._check_input_dim(x)
    if x.shape[1] != owner.num_features:
        raise RuntimeError(
            f"a batch norm of {owner.num_features} channels got an input of {x.shape[1]}: "
            f"its shape is {tuple(x.shape)}"
        )
    check(owner)
    if owner.training and owner.num_batches_tracked is not None:
        owner.num_batches_tracked.add_(1)  # so that going back to torch's rule is possible
    buffers = Buffers(owner.running_mean, owner.running_var)
    given = (owner.weight, owner.bias, buffers, owner.training, owner.momentum, owner.eps)
    return normalized(owner, x, *given, addend, relu, others)


def check(owner: Any) -> None:
    """Refuse what has become of a module's settings.

    Raises:
        ValueError: momentum=None.
    """
    if owner.momentum is None:  # torch.optim.swa_utils.update_bn sets it, for one
        raise InvalidValue(
            f"momentum=None, the mean over all batches, has no counterpart in {owner.semantics}: "
            "batchnorm.recalibrate gives the statistics of a data set"
        )


def normalized(
    owner: Any,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    buffers: Buffers,
    training: bool,
    momentum: float,
    eps: float,
    addend: Tensor | None = None,
    relu: bool = False,
    others: Processes | None = None,
) -> Tensor:
    """relu(batch_norm(x) + addend) by the rule of the owner's `semantics`.

    Without running statistics, which torch.func.replace_all_batch_norm_modules_ takes away, the
    batch's own normalize: no dialect has another rule for that.
    """
    values = x.numel() // max(x.shape[1], 1)
    several = others is not None or values > 1
    settings = rules.settings(
        owner.semantics,
        x.dim(),
        2 if several else 1 if values == 1 else 0,
        float(eps),
        float(momentum),
        training,
        learns(owner),
        x.dtype is torch.float64,
    )
    if buffers.mean is None or buffers.var is None:
        settings = core.Settings((1,), Mode.BATCH, settings.epsilon, 0.0, settings.correction)
    frozen = not owner.trainable
    return normalize(
        x,
        weight.detach() if frozen and weight is not None else weight,
        bias.detach() if frozen and bias is not None else bias,
        buffers,
        settings,
        addend=addend,
        relu=relu,
        processes=None if settings.mode is Mode.RUNNING else others,
    )


def learns(owner: Any) -> bool:
    """Whether it was not frozen, and one of its parameters, if there are any, learns."""
    own = [p for p in (owner.weight, owner.bias) if p is not None]
    return bool(owner.trainable) and (not own or any(p.requires_grad for p in own))


def rank_of(module: Any) -> int:
    """The rank that torch's class of a module names; BatchNorm1d 2, a SyncBatchNorm 4."""
    names = (c.__name__ for c in type(module).__mro__ if c.__name__ in RANKS)
    return RANKS[next(names, "BatchNorm2d")]


def read(obj: Any, arrays: Mapping[str, Array | None]) -> Layer:
    """The dialect's layer with the module's settings, state and mode.

    `arrays` are its tensors by torch's names. A Keras layer has the channels in axis 1, and is
    built for the rank that torch's class names; that of BatchNorm1d for 2, a SyncBatchNorm's for 4.

    Raises:
        TypeError: the dialect's layers don't have state of this type.
        ValueError: momentum=None.
    """
    check(obj)
    weight, mean = obj.weight, arrays["running_mean"]
    layer = new_layer(
        find(obj.semantics),
        rank_of(obj),
        obj.num_features,
        float(obj.eps),
        float(obj.momentum),
        gamma=weight is not None,
        beta=arrays["bias"] is not None,
        trained=weight is not None and bool(weight.requires_grad),
        trainable=learns(obj),
        dtype="float32" if mean is None else mean.dtype.name,
    )
    roles = {layer.STATE[own].role: own for own in layer.state}
    state = layer.state
    for role, name in NAMES.items():
        value = arrays[name]
        if value is not None:
            state[roles[role]] = value
    layer.load_state(state)
    if hasattr(layer, "training"):
        layer.training = bool(obj.training)
    return layer
