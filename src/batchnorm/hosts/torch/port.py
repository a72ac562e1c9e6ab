"""Another dialect's rule for a model's batch norms: `port`.

Not here: the rules, which are the dialects', and the way back, which is `restore`.
"""

from __future__ import annotations

from typing import Any

from batchnorm.frameworks import find
from batchnorm.hosts.torch import rules
from batchnorm.hosts.torch.accelerate import accelerate, batch_norms

__all__ = ["port"]


def port(model: Any, semantics: str) -> Any:
    """Give a torch model's batch norms the rule of another dialect; the model itself is changed.

    running_* = (1 - momentum) * running_* + momentum * {mean, var * n / (n - correction)}

    The dialect decides the correction, which batches count, how a batch of one value or none is
    taken, and what freezing means: by Keras' rule a batch norm whose `trainable` is false, or of
    whose parameters none needs a gradient, normalizes by its running statistics in training too,
    and doesn't move them. `eps` and `momentum` keep their values and torch's meaning.

    Args:
        model: any torch.nn.Module with BatchNorm1d, 2d, 3d or SyncBatchNorm.
        semantics: the dialect's framework, as `batchnorm.frameworks.find` takes it: "tf_keras",
            "keras@2.6", "mindspore", … or "torch".

    Shape: as before.
    Dtypes: as before.
    State: the same keys, the same tensors; `restore` undoes it.

    Raises:
        ValueError: an unknown dialect; a batch norm with a setting that the dialect doesn't have:
            momentum=None, track_running_stats=False, an eps that it refuses. Nothing is changed.
        TypeError: `model` is no torch.nn.Module.

    >>> import torch
    >>> net = port(torch.nn.Sequential(torch.nn.BatchNorm1d(2, momentum=1.0)), "keras")
    >>> y = net(torch.tensor([[1.0, 0.0], [3.0, 0.0]]))
    >>> net[0].running_var  # biased, as Keras 3 has it
    tensor([1., 0.])

    Source: the dialects' layers, `batchnorm.tf_keras` and so on.
    """
    semantics = find(semantics).module
    rules.check(semantics, 1e-5, 0.1, True)
    found = batch_norms(model)
    for one in found:  # before anything is changed
        rules.check(semantics, one.eps, one.momentum, one.running_mean is not None)
    accelerate(model)
    for one in found:
        one.semantics = semantics
    return model
