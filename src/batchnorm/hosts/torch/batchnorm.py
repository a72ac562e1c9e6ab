"""torch's own batch-norm classes computing with our kernel, by torch's rule or another dialect's.

Each is a subclass of torch's class of the same name that keeps its state, its checks and its
errors. By torch's rule, whatever the kernel doesn't take goes on to torch's own forward. Not here:
how a model gets them (`accelerate.py`, `port.py`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from batchnorm import core
from batchnorm.errors import InvalidValue
from batchnorm.hosts.torch import processes, rules
from batchnorm.hosts.torch.formulas import Buffers
from batchnorm.hosts.torch.freezing import Freezing
from batchnorm.hosts.torch.normalize import add_and_relu, normalize
from batchnorm.hosts.torch.processes import Processes
from batchnorm.hosts.torch.tensors import DTYPES, takes
from batchnorm.hosts.torch.traced import as_leaf, as_torchs_own
from batchnorm.vocabulary import Mode

__all__ = [
    "OURS",
    "THEIRS",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "Hosted",
    "SyncBatchNorm",
]

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
        if isinstance(input, fx.Proxy):
            return as_leaf(self, input)
        others = self._processes()
        if self.semantics != "torch":
            settings = self._settings_of_another(input, others is not None)
        elif self._is_ours(input, others is not None):
            settings = self._settings_of_torch()
        else:
            return add_and_relu(self._forward_by_torch(input), addend, relu)
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

    def __prepare_scriptable__(self) -> nn.Module:
        """What torch.jit.script compiles instead: torch's own class on the same tensors."""
        return as_torchs_own(self, THEIRS[type(self)])

    def extra_repr(self) -> str:
        """As torch prints it, and whose rule it follows."""
        text: str = super().extra_repr()
        return text if self.semantics == "torch" else f"{text}, semantics={self.semantics!r}"

    def _settings_of_torch(self) -> core.Settings:
        """By torch's own rule; counts the batch."""
        factor: Any = self.momentum
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if factor is None:
                count = self.num_batches_tracked
                lazy = torch.compiler.is_compiling()  # no number leaves a graph
                factor = 1.0 / (count.to(torch.float64) if lazy else float(count))
        factor = 0.0 if factor is None else factor
        mode = Mode.BATCH
        if self.running_mean is not None and not (self.training and not self.track_running_stats):
            mode = Mode.BATCH_AND_UPDATE if self.training else Mode.RUNNING
        return core.Settings((1,), mode, self.eps, factor, 1)

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

    def _is_ours(self, x: Any, shared: bool) -> bool:
        """Whether torch would accept this call, and our kernel or its operators can do it."""
        if shared:
            if takes(x, empty=True):
                self._check_input_dim(x)
                return True
            return False
        if torch.compiler.is_compiling():
            if torch.compiler.is_exporting() or x.device.type != "cpu" or x.dtype not in DTYPES:
                return False
        elif not takes(x):
            return False
        if x.dim() < 2 or x.numel() == 0:
            return False
        self._check_input_dim(x)
        if (self.running_mean is None) != (self.running_var is None):
            return False
        batch = self.training or self.running_mean is None
        channels = x.shape[1]
        if batch and x.numel() == channels:
            return False
        plain = isinstance(self.eps, float) and isinstance(self.momentum, float | None)
        if not plain or self.eps < 0 or (batch and self.eps == 0):
            return False
        for tensor in (self.weight, self.bias, self.running_mean, self.running_var):
            if tensor is not None:
                if tensor.dim() != 1 or tensor.shape[0] != channels or tensor.device != x.device:
                    return False
                if tensor.dtype is not x.dtype and not (
                    tensor.dtype is torch.float32 and x.dtype in SIXTEEN_BIT
                ):
                    return False
        return True


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
