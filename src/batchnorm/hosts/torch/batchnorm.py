"""The forward of torch's own batch norms, computing with our kernel: `Forward`.

It keeps torch's state, checks and errors; whatever the kernel doesn't take goes on to torch's own
forward. Not here: how a module gets it (`accelerate.py`, `port.py`), another dialect's rule
(`semantics.py`), and classes with forwards of their own (`derived.py`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from batchnorm import core
from batchnorm.hosts.torch import processes, rules, semantics, tasks
from batchnorm.hosts.torch.bound import Bound
from batchnorm.hosts.torch.formulas import Buffers
from batchnorm.hosts.torch.kernel import Normalize
from batchnorm.hosts.torch.kernel_call import KernelCall
from batchnorm.hosts.torch.normalize import add_and_relu, normalize
from batchnorm.hosts.torch.processes import Processes
from batchnorm.hosts.torch.tensors import DTYPES, plain, takes
from batchnorm.hosts.torch.traced import as_leaf

__all__ = ["Forward", "SyncBatchNorm", "fits"]

BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
SIXTEEN_BIT = (torch.float16, torch.bfloat16)


class SyncBatchNorm(_BatchNorm):
    """torch.nn.SyncBatchNorm, which with our `Forward` works on the CPU too.

    Not derived from torch's, which DistributedDataParallel refuses to have on a CPU.
    """

    process_group: Any = None
    _check_input_dim = nn.SyncBatchNorm._check_input_dim
    _check_non_zero_input_channels = nn.SyncBatchNorm._check_non_zero_input_channels
    forward = nn.SyncBatchNorm.forward


class Forward(Bound):
    """relu(batch_norm(input) + addend); without the last two, as torch's own."""

    def __call__(self, input: Tensor, addend: Tensor | None = None, relu: bool = False) -> Tensor:
        """As the class's own."""
        owner = self.owner
        if self.ported:
            return semantics.forward(owner, input, addend, relu, self._processes())
        if not isinstance(input, Tensor) or not input.is_cpu:  # first, as it gains nothing there
            return self._by_torch(input, addend, relu)
        if type(owner) is not SyncBatchNorm:
            y = self._at_once(input, addend, relu)
            if y is not None:
                return y
        elif owner.training and processes.outside():
            return _outside(self, input, addend, relu)
        return self._in_order(input, addend, relu)

    def _in_order(self, x: Tensor, addend: Tensor | None, relu: bool) -> Tensor:
        """By the kernel or its operators, if it is a call that torch would accept."""
        owner, others, state = self.owner, self._processes(), self._tensors()
        if others is not None and takes(x, empty=True):
            owner._check_input_dim(x)
        elif others is not None or not self._suits(x, state):
            return self._by_torch(x, addend, relu)
        weight, bias, mean, var, batches = state
        factor: Any = owner.momentum
        if not owner.training or not owner.track_running_stats:
            batches = None
        elif batches is not None and factor is None:
            batches.add_(1)
            lazy = torch.compiler.is_compiling()  # no number leaves a graph
            factor = 1.0 / (batches.to(torch.float64) if lazy else float(batches))
            batches = None
        factor = 0.0 if factor is None else factor
        lazy = isinstance(factor, Tensor)
        given = (bool(owner.training), bool(owner.track_running_stats), mean is not None)
        settings = rules.settings("torch", *given, owner.eps, 0.0 if lazy else factor)
        if lazy:
            settings = core.Settings((1,), settings.mode, owner.eps, factor, settings.correction)
        return normalize(
            x,
            weight,
            bias,
            Buffers(mean, var),
            settings,
            addend=addend,
            relu=relu,
            processes=others,
            batches=batches,
        )

    def _by_torch(self, x: Any, addend: Tensor | None, relu: bool) -> Tensor:
        """What torch's own class computes, or refuses."""
        if isinstance(x, fx.Proxy) and type(self.owner) is SyncBatchNorm:
            return as_leaf(self.owner, x)
        y: Tensor = type(self.owner).forward(self.owner, x)
        return y if addend is None and not relu else add_and_relu(y, addend, relu)

    def _processes(self) -> Processes | None:
        """With whom the batch is shared; only SyncBatchNorm has others."""
        owner = self.owner
        if type(owner) is not SyncBatchNorm or not owner.training:
            return None
        return processes.find(owner.process_group)

    def _tensors(self) -> tuple[Any, ...]:
        """Weight, bias, running mean and variance, and the number of batches.

        From where torch keeps them: asking for them as attributes takes as long as all the rest.
        """
        owner = self.owner
        own, buffers = owner._parameters, owner._buffers
        try:
            return own["weight"], own["bias"], *[buffers[name] for name in BUFFERS]
        except KeyError:  # computed from others, as by torch.nn.utils.prune; or deleted
            batches = owner.num_batches_tracked if owner.training else None
            return owner.weight, owner.bias, owner.running_mean, owner.running_var, batches

    def _at_once(self, x: Any, addend: Tensor | None, relu: bool) -> Tensor | None:
        """The short way to what `_in_order` gives; None where anything is out of the ordinary."""
        owner = self.owner
        eps, momentum = owner.eps, owner.momentum
        if not plain(x) or type(eps) is not float or eps <= 0 or type(momentum) is not float:
            return None
        weight, bias, mean, var, batches = self._tensors()
        if (mean is None) != (var is None) or (addend is not None and not relu):
            return None
        owner._check_input_dim(x)
        training, tracking = owner.training, owner.track_running_stats
        settings = rules.of_torch(training, tracking, mean is not None, eps, momentum)
        batches = batches if training and tracking else None
        call = KernelCall(settings, mean, var, relu, addend is not None, None, batches)
        y = tasks.forward(x, weight, bias, addend, call, least=2)
        if y is not None and torch.is_grad_enabled():
            call.y = y
            y = Normalize.apply(x, weight, bias, addend, call)
        return y

    def _suits(self, x: Any, state: tuple[Any, ...]) -> bool:
        """Whether torch would accept this call, and our kernel or its operators can do it."""
        owner = self.owner
        if torch.compiler.is_compiling():
            if torch.compiler.is_exporting() or x.dtype not in DTYPES:
                return False
        elif not takes(x):
            return False
        if x.dim() < 2 or x.numel() == 0:
            return False
        owner._check_input_dim(x)
        batch = owner.training or state[2] is None
        weight, bias, mean, var, _ = state
        return fits(x, weight, bias, mean, var, batch, owner.momentum, owner.eps)


def fits(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor | None,
    var: Tensor | None,
    batch: bool,
    momentum: Any,
    eps: Any,
) -> bool:
    """Whether torch's batch norm takes these arguments, and our kernel can do the same."""
    if (mean is None) != (var is None):
        return False
    channels = x.shape[1]
    if batch and x.numel() == channels:
        return False
    numbers = isinstance(eps, float) and isinstance(momentum, float | None)
    if not numbers or eps < 0 or (batch and eps == 0):
        return False
    for tensor in (weight, bias, mean, var):
        if tensor is not None:
            if tensor.dim() != 1 or tensor.shape[0] != channels or tensor.device != x.device:
                return False
            if tensor.dtype is not x.dtype and not (
                tensor.dtype is torch.float32 and x.dtype in SIXTEEN_BIT
            ):
                return False
    return True


@torch.compiler.disable(reason=processes.OUTSIDE)
def _outside(forward: Forward, x: Tensor, addend: Tensor | None, relu: bool) -> Tensor:
    return forward._in_order(x, addend, relu)
