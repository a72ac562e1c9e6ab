"""A torch.nn.Module of any dialect's layer: `module`.

torch's own dialect becomes torch's own class with our kernel (`accelerate.py`); the others become a
`DialectBatchNorm`, which asks the dialect's layer for its settings at every call.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from batchnorm.errors import InvalidType, InvalidValue
from batchnorm.frameworks import find
from batchnorm.frameworks.torch import layers as torch_dialect
from batchnorm.hosts.torch.accelerate import accelerate
from batchnorm.hosts.torch.dialect_module import DialectBatchNorm
from batchnorm.hosts.torch.tensors import tensor_of
from batchnorm.layer import Layer

__all__ = ["module"]


def module(
    layer: Layer,
    names: str = "dialect",
    *,
    synchronized: bool | None = None,
    process_group: Any = None,
) -> Any:
    """Make a torch.nn.Module of a dialect's layer, with its settings, state and mode.

    y = (x - mean) / sqrt(var + epsilon) * gamma + beta, as the dialect's layer has it

    Args:
        layer: a layer of any dialect (batchnorm.keras, …); it isn't changed. `batchnorm.read` makes
            one of a real framework's. A Keras layer must be built.
        names: how parameters and buffers are called: as in the dialect (gamma, moving_mean, …) or
            as in torch (weight, running_mean, …, with num_batches_tracked, so that torch's own
            class can load them). What torch has no name for keeps the dialect's.
        synchronized: whether batch statistics are those of all processes of torch.distributed;
            None for what the layer says, which only Keras' do.
        process_group: which processes; None for all.

    Shape: as the dialect's layer; channels_last stays so.
    Dtypes: as the dialect's layer.
    State: that of the layer, copied; Parameters for gamma and beta, which need gradients where the
        dialect trains them, buffers for the rest. The mode is the layer's; a Keras layer has none,
        so its module is in training mode as every new one. `module(...).to_layer()` goes back.

    Raises:
        TypeError: no layer of this package.
        ValueError: a Keras layer that isn't built; other `names`.

    >>> import torch
    >>> import batchnorm as bn
    >>> layer = bn.mindspore.BatchNorm2d(3).set_train()
    >>> made = module(layer, names="torch")
    >>> list(made.state_dict())
    ['weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked']
    >>> made(torch.ones(2, 3, 2, 2)).shape
    torch.Size([2, 3, 2, 2])

    Source: the dialects' layers, `batchnorm.torch` and so on.
    """
    if not isinstance(layer, Layer):
        kind = f"{type(layer).__module__}.{type(layer).__qualname__}"
        raise InvalidType(
            f"module takes a layer of batchnorm (batchnorm.read makes one of a framework's), but "
            f"got {kind}"
        )
    if names != "dialect":
        names = find(names).name
    if names not in ("dialect", "torch"):
        raise InvalidValue(f"names must be 'dialect' or 'torch', but got {names!r}")
    if isinstance(layer, torch_dialect.BatchNorm):
        return _torch_module(layer, bool(synchronized), process_group)
    if not getattr(layer, "built", True):
        raise InvalidValue(
            f"layer {layer.name!r} has no state yet: "  # type: ignore[attr-defined]
            "build it first, with layer.build(shape of the inputs)"
        )
    if synchronized is None:
        synchronized = bool(getattr(layer, "synchronized", False))
    return DialectBatchNorm(layer, names == "torch", synchronized, process_group)


def _torch_module(layer: Any, synchronized: bool, process_group: Any) -> Any:
    """torch's class of the same name; its buffers decide, so they are taken as they are."""
    made: Any  # a torch.nn.Module
    settings = (layer.num_features, layer.eps, layer.momentum, bool(layer.affine))
    tracking, options = bool(layer.track_running_stats), {"bias": layer.bias is not None}
    kind = nn.SyncBatchNorm if synchronized else getattr(nn, type(layer).__name__)
    made = kind(*settings, track_running_stats=tracking, **options)
    if synchronized:
        made.process_group = process_group
    for name in torch_dialect.BatchNorm2d.STATE:
        value = getattr(layer, name)
        tensor = None if value is None else tensor_of(np.array(value))
        if name in ("weight", "bias"):
            setattr(made, name, None if tensor is None else nn.Parameter(tensor))
        else:
            made.register_buffer(name, tensor)
    made.affine, made.track_running_stats = layer.affine, layer.track_running_stats
    made.train(layer.training)
    return accelerate(made, verbose=False)
