"""torch's own batch-norm classes computing with our kernel, by torch's rule or another dialect's.

Each is a subclass of torch's class of the same name that keeps its state, its checks and its
errors. By torch's rule, whatever the kernel doesn't take goes on to torch's own forward. Not here:
how a model gets them (`accelerate.py`, `port.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from batchnorm import core
from batchnorm.errors import InvalidValue
from batchnorm.hosts.torch import ported, processes, rules, tasks
from batchnorm.hosts.torch.formulas import Buffers
from batchnorm.hosts.torch.freezing import Freezing
from batchnorm.hosts.torch.kernel import Call, Normalize
from batchnorm.hosts.torch.normalize import add_and_relu, normalize
from batchnorm.hosts.torch.processes import Processes
from batchnorm.hosts.torch.tensors import DTYPES, plain, takes
from batchnorm.hosts.torch.traced import as_leaf, as_torchs_own
from batchnorm.layer import Layer
from batchnorm.vocabulary import Array, Mode

__all__ = [
    "OURS",
    "THEIRS",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "Hosted",
    "SyncBatchNorm",
]

BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
SIXTEEN_BIT = (torch.float16, torch.bfloat16)


class Hosted(Freezing, _BatchNorm):
    """What the four classes share.

    Attributes:
        semantics: whose rule decides the statistics, their update and what freezes: "torch", or
            another dialect's name. `momentum` stays torch's, the weight of the new batch.
    """

    semantics = "torch"
    process_group: Any = None

    def forward(self, input: Tensor, addend: Tensor | None = None, relu: bool = False) -> Tensor:
        """Give relu(batch_norm(input) + addend); without the last two, as torch's own."""
        y = self._forward_at_once(input, addend, relu)
        if y is not None:
            return y
        if isinstance(input, fx.Proxy):
            return as_leaf(self, input)
        if self.semantics != "torch":
            return self._forward_as_another(input, addend, relu)
        others, state = self._processes(), self._tensors()
        if others is not None and takes(input, empty=True):
            self._check_input_dim(input)
        elif others is not None or not self._suits(input, state):
            return add_and_relu(self._forward_by_torch(input), addend, relu)
        weight, bias, mean, var, batches = state
        factor: Any = self.momentum
        if not self.training or not self.track_running_stats:
            batches = None
        elif batches is not None and factor is None:
            batches.add_(1)
            lazy = torch.compiler.is_compiling()  # no number leaves a graph
            factor = 1.0 / (batches.to(torch.float64) if lazy else float(batches))
            batches = None
        factor = 0.0 if factor is None else factor
        mode = _mode(self.training, self.track_running_stats, mean is not None)
        return normalize(
            input,
            weight,
            bias,
            Buffers(mean, var),
            core.Settings((1,), mode, self.eps, factor, 1),
            addend=addend,
            relu=relu,
            processes=others,
            batches=batches,
        )

    def __prepare_scriptable__(self) -> nn.Module:
        """What torch.jit.script compiles instead: torch's own class on the same tensors."""
        return as_torchs_own(self, THEIRS[type(self)])

    def extra_repr(self) -> str:
        """As torch prints it, and whose rule it follows."""
        text: str = super().extra_repr()
        return text if self.semantics == "torch" else f"{text}, semantics={self.semantics!r}"

    def layer_of_another(self, name: str, arrays: Mapping[str, Array | None]) -> Layer:
        """The layer of the dialect whose rule it follows; `arrays` as `ported.read` takes them."""
        return ported.read(self, name, arrays)

    def _forward_as_another(self, input: Tensor, addend: Tensor | None, relu: bool) -> Tensor:
        """By another dialect's rule."""
        others = self._processes()
        settings = self._settings_of_another(input, others is not None)
        return normalize(
            input,
            self.weight,
            self.bias,
            Buffers(self.running_mean, self.running_var),
            settings,
            addend=addend,
            relu=relu,
            processes=None if settings.mode is Mode.RUNNING else others,
        )

    def _settings_of_another(self, input: Tensor, shared: bool) -> core.Settings:
        """By another dialect's rule; counts the batch."""
        self._check_input_dim(input)
        channels = input.shape[1]
        if channels != self.num_features:
            raise RuntimeError(
                f"a batch norm of {self.num_features} channels got an input of {channels}: "
                f"its shape is {tuple(input.shape)}"
            )
        if self.running_mean is None or self.running_var is None:
            raise RuntimeError(
                f"semantics={self.semantics!r} needs running statistics, which "
                "track_running_stats=False leaves out"
            )
        if self.momentum is None:  # torch.optim.swa_utils.update_bn sets it, for one
            raise InvalidValue(
                f"momentum=None, the mean over all batches, has no counterpart in "
                f"{self.semantics}: batchnorm.recalibrate gives the statistics of a data set"
            )
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)  # so that going back to torch's rule is possible
        values = input.numel() // max(channels, 1)
        return rules.of_semantics(
            self.semantics,
            input.dim(),
            2 if values > 1 or shared else values,
            float(self.eps),
            float(self.momentum),
            self.training,
            self.trainable,
            input.dtype is torch.float64,
        )

    def _forward_by_torch(self, input: Tensor) -> Tensor:
        """What torch's own class computes, or refuses."""
        result: Tensor = _BatchNorm.forward(self, input)
        return result

    def _processes(self) -> Processes | None:
        """With whom the batch is shared; only SyncBatchNorm has others."""
        return None

    def _tensors(self) -> tuple[Any, ...]:
        """Weight, bias, running mean and variance, and the number of batches.

        From where torch keeps them: asking for them as attributes takes as long as all the rest.
        """
        own, buffers = self._parameters, self._buffers
        try:
            return own["weight"], own["bias"], *[buffers[name] for name in BUFFERS]
        except KeyError:  # computed from others, as by torch.nn.utils.prune; or deleted
            batches = self.num_batches_tracked if self.training else None
            return self.weight, self.bias, self.running_mean, self.running_var, batches

    def _forward_at_once(self, x: Any, addend: Tensor | None, relu: bool) -> Tensor | None:
        """The short way to what `forward` gives; None where anything is out of the ordinary."""
        eps, momentum = self.eps, self.momentum
        if self.semantics != "torch" or not plain(x):
            return None
        if type(eps) is not float or eps <= 0 or type(momentum) is not float:
            return None
        weight, bias, mean, var, batches = self._tensors()
        if (mean is None) != (var is None) or (addend is not None and not relu):
            return None
        self._check_input_dim(x)
        training, tracking = self.training, self.track_running_stats
        settings = _settings(training, tracking, mean is not None, eps, momentum)
        batches = batches if training and tracking else None
        call = Call(settings, mean, var, relu, addend is not None, None, batches)
        y = tasks.forward(x, weight, bias, addend, call, least=2)
        if y is not None and torch.is_grad_enabled():
            call.y = y
            y = Normalize.apply(x, weight, bias, addend, call)
        return y

    def _suits(self, x: Any, state: tuple[Any, ...]) -> bool:
        """Whether torch would accept this call, and our kernel or its operators can do it."""
        if torch.compiler.is_compiling():
            if torch.compiler.is_exporting() or x.device.type != "cpu" or x.dtype not in DTYPES:
                return False
        elif not takes(x):
            return False
        if x.dim() < 2 or x.numel() == 0:
            return False
        self._check_input_dim(x)
        _, _, mean, var, _ = state
        if (mean is None) != (var is None):
            return False
        batch = self.training or mean is None
        channels = x.shape[1]
        if batch and x.numel() == channels:
            return False
        plain = isinstance(self.eps, float) and isinstance(self.momentum, float | None)
        if not plain or self.eps < 0 or (batch and self.eps == 0):
            return False
        for tensor in state[:4]:
            if tensor is not None:
                if tensor.dim() != 1 or tensor.shape[0] != channels or tensor.device != x.device:
                    return False
                if tensor.dtype is not x.dtype and not (
                    tensor.dtype is torch.float32 and x.dtype in SIXTEEN_BIT
                ):
                    return False
        return True


def _mode(training: bool, tracking: bool, buffers: bool) -> Mode:
    """Which statistics torch takes, and whether it moves its buffers."""
    if not buffers or (training and not tracking):
        return Mode.BATCH
    return Mode.BATCH_AND_UPDATE if training else Mode.RUNNING


@lru_cache(maxsize=64)
def _settings(
    training: bool, tracking: bool, buffers: bool, eps: float, factor: float
) -> core.Settings:
    return core.Settings((1,), _mode(training, tracking, buffers), eps, factor, 1)


class BatchNorm1d(Hosted, nn.BatchNorm1d):
    """torch.nn.BatchNorm1d with our kernel."""


class BatchNorm2d(Hosted, nn.BatchNorm2d):
    """torch.nn.BatchNorm2d with our kernel."""


class BatchNorm3d(Hosted, nn.BatchNorm3d):
    """torch.nn.BatchNorm3d with our kernel."""


class SyncBatchNorm(Hosted):
    """torch.nn.SyncBatchNorm with our kernel: on the CPU too, where torch's has none.

    Not derived from torch's, which DistributedDataParallel refuses to have on a CPU.
    """

    _check_input_dim = nn.SyncBatchNorm._check_input_dim
    _check_non_zero_input_channels = nn.SyncBatchNorm._check_non_zero_input_channels

    def __init__(self, *settings: Any, process_group: Any = None, **options: Any) -> None:
        super().__init__(*settings, **options)
        self.process_group = process_group

    def forward(self, input: Tensor, addend: Tensor | None = None, relu: bool = False) -> Tensor:
        """As `Hosted`; in training by several processes, outside of compiled graphs."""
        if self.training and processes.outside():
            return _outside(self, input, addend, relu)
        return super().forward(input, addend, relu)

    def _forward_at_once(self, x: Any, addend: Tensor | None, relu: bool) -> Tensor | None:
        return None if self.training else super()._forward_at_once(x, addend, relu)

    def _forward_by_torch(self, input: Tensor) -> Tensor:
        result: Tensor = nn.SyncBatchNorm.forward(self, input)
        return result

    def _processes(self) -> Processes | None:
        return processes.find(self.process_group) if self.training else None


@torch.compiler.disable(reason=processes.OUTSIDE)
def _outside(module: Hosted, input: Tensor, addend: Tensor | None, relu: bool) -> Tensor:
    return Hosted.forward(module, input, addend, relu)


OURS = {
    nn.BatchNorm1d: BatchNorm1d,
    nn.BatchNorm2d: BatchNorm2d,
    nn.BatchNorm3d: BatchNorm3d,
    nn.SyncBatchNorm: SyncBatchNorm,
}
THEIRS = {ours: theirs for theirs, ours in OURS.items()}
