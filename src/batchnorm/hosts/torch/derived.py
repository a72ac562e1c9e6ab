"""Classes derived from torch's batch norms whose own forward does more: `Inside`, `Activated`.

The batch norm that such a forward calls is computed by us, and all else by the forward. Where it is
known to be `act(drop(batch_norm(x)))`, as in image models' BatchNormAct2d, it isn't run at all, so
that the kernel can compute a ReLU with it. Not here: which class is which (`candidates.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from batchnorm.errors import InvalidType
from batchnorm.frameworks.torch.calls import FunctionCall, mode
from batchnorm.hosts.torch import native, semantics
from batchnorm.hosts.torch.batchnorm import Forward, fits
from batchnorm.hosts.torch.bound import Bound, has_hooks
from batchnorm.hosts.torch.formulas import Buffers
from batchnorm.hosts.torch.normalize import add_and_relu, normalize
from batchnorm.hosts.torch.rules import settings as settings_of
from batchnorm.hosts.torch.tensors import plain, takes

__all__ = ["Activated", "Inside"]

LISTENING = mode()


class Inside(Bound):
    """The class's own forward, in which the calls of batch norm are ours."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As the class's own."""
        owner = self.owner
        if not self.ported:
            x = args[0] if args else next(iter(kwargs.values()), None)
            if not isinstance(x, Tensor) or not x.is_cpu or not plain(x):
                return type(owner).forward(owner, *args, **kwargs)
            with LISTENING(_by_torchs_rule):
                return type(owner).forward(owner, *args, **kwargs)
        heard: list[Any] = []

        def answer(call: FunctionCall, compute: Callable[[], Any]) -> Any:
            if native.is_own(call):
                return compute()
            heard.append(call)
            buffers = Buffers(call.running_mean, call.running_var)
            given = (call.weight, call.bias, buffers, owner.training)
            return semantics.normalized(owner, call.input, *given, call.momentum, call.eps)

        semantics.check(owner)
        with LISTENING(answer):
            result = type(owner).forward(owner, *args, **kwargs)
        if owner.training and not heard:
            raise InvalidType(
                f"{type(owner).__qualname__} follows the rule of {owner.semantics!r}, but this "
                "call of its forward did no batch norm that could be given that rule"
            )
        return result


def _by_torchs_rule(call: FunctionCall, compute: Callable[[], Any]) -> Any:
    """With our kernel where it can."""
    x, mean, var, weight, bias, training, momentum, eps = call
    if not takes(x) or x.dim() < 2:
        return compute()
    batch = bool(training)
    if (mean is None and not batch) or not fits(x, weight, bias, mean, var, batch, momentum, eps):
        return compute()
    settings = settings_of("torch", batch, True, mean is not None, eps, momentum or 0.0)
    return normalize(x, weight, bias, Buffers(mean, var), settings)


class Activated(Forward):
    """act(drop(batch_norm(x))) of the module's two children of these names."""

    def __call__(self, input: Tensor, addend: Tensor | None = None, relu: bool = False) -> Tensor:
        """As the class's own; a ReLU that follows at once is computed with the batch norm."""
        owner = self.owner
        if not self.ported and (not isinstance(input, Tensor) or not input.is_cpu):
            y = type(owner).forward(owner, input)
            return y if addend is None and not relu else add_and_relu(y, addend, relu)
        drop, act = owner.drop, owner.act
        if type(drop) is nn.Identity and not has_hooks(drop) and not has_hooks(act):
            if type(act) is nn.Identity:
                return super().__call__(input, addend, relu)
            if type(act) is nn.ReLU and addend is None:
                return super().__call__(input, None, True)
        y = act(drop(super().__call__(input)))
        return y if addend is None and not relu else add_and_relu(y, addend, relu)

    def _by_torch(self, x: Any, addend: Tensor | None, relu: bool) -> Tensor:
        return add_and_relu(_BatchNorm.forward(self.owner, x), addend, relu)
