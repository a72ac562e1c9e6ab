"""Another dialect's rule for a model's batch norms: `port`.

Not here: the rules, which are the dialects', and the way back, which is `restore`.
"""

from __future__ import annotations

from typing import Any

from batchnorm.errors import InvalidType, InvalidValue
from batchnorm.frameworks import find
from batchnorm.hosts.torch import rules
from batchnorm.hosts.torch.accelerate import take
from batchnorm.hosts.torch.bound import keep_source
from batchnorm.hosts.torch.candidates import candidates, summary, tell
from batchnorm.hosts.torch.semantics import rank_of

__all__ = ["port"]


def port(model: Any, semantics: str, *, strict: bool = True, verbose: bool = True) -> Any:
    """Give a torch model's batch norms the rule of another dialect; the model itself is changed.

    running_* = (1 - momentum) * running_* + momentum * {mean, var * n / (n - correction)}

    The dialect decides the correction, which batches count, how a batch of one value or none is
    taken, and what freezing means: by Keras' rule a batch norm whose `trainable` is false, or of
    whose parameters none needs a gradient, normalizes by its running statistics in training too,
    and doesn't move them. `eps` and `momentum` keep their values and torch's meaning.

    Taken are the classes that `accelerate` takes, in forwards of their own too. A tool that puts a
    layer of its own in a batch norm's place (convert_sync_batchnorm, prepare_qat_fx) gives it
    torch's rule: use it first.

    Args:
        model: any torch.nn.Module.
        semantics: the dialect's framework, as `batchnorm.frameworks.find` takes it: "tf_keras",
            "keras@2.6", "mindspore", … or "torch".
        strict: whether a batch norm that can't be given the rule is refused; else it keeps torch's.
        verbose: whether to say on stderr, in one line, how many batch norms were taken, and which
            not and why.

    Shape: as before.
    Dtypes: as before.
    State: the same keys, the same tensors; `restore` undoes it. Each module has its rule as an
        attribute `semantics`, and a `trainable`.

    Raises:
        ValueError: an unknown dialect; a batch norm with a setting that the dialect doesn't have:
            momentum=None, track_running_stats=False, an eps that it refuses. Nothing is changed.
        TypeError: `model` is no torch.nn.Module; a batch norm in it can't be taken, which the
            message names. Nothing is changed.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.BatchNorm1d(2, momentum=1.0))
    >>> net = port(net, "keras", verbose=False)
    >>> y = net(torch.tensor([[1.0, 0.0], [3.0, 0.0]]))
    >>> net[0].running_var  # biased, as Keras 3 has it
    tensor([1., 0.])

    Source: the dialects' layers, `batchnorm.tf_keras` and so on.
    """
    semantics = find(semantics).module
    found = candidates(model)
    ported = not rules.is_torchs(semantics)
    for one in found if ported else ():  # before anything is changed
        if one.forward is None and strict:
            raise InvalidType(
                f"port(…, {semantics!r}) would leave torch's rule to some: {summary(found)}. With "
                "strict=False they keep it"
            )
        if one.forward is not None:
            rank, tracking = rank_of(one.module), one.module.running_mean is not None
            try:
                rules.check(semantics, rank, one.module.eps, one.module.momentum, tracking)
            except InvalidValue as error:
                where = f"{one.path} ({one.kind})" if one.path else one.kind
                raise InvalidValue(f"{where}: {error}") from error
    take(found, ported)
    for one in found:
        if one.forward is not None and ported:
            one.module.semantics = semantics
            one.module.trainable = getattr(one.module, "trainable", True)
        elif one.forward is not None:
            for name in ("semantics", "trainable"):
                vars(one.module).pop(name, None)
    keep_source(model)
    tell(f"port to {semantics}", found, verbose)
    return model
