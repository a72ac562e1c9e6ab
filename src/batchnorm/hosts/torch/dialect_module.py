"""A layer of MindSpore's, a Keras or another dialect as a torch.nn.Module.

Parameters and buffers hold the state; the dialect's layer, kept as `layer`, decides what each call
is done with (`Layer.decide`), also while torch.compile traces. Not here: any rule of a dialect, or
any arithmetic.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from batchnorm.computation import Computation, Masking
from batchnorm.errors import InvalidRuntime, InvalidType, InvalidValue, NotSupported
from batchnorm.hosts import dialect
from batchnorm.hosts.torch import processes
from batchnorm.hosts.torch.formulas import Adjusted, Buffers
from batchnorm.hosts.torch.normalize import normalize
from batchnorm.hosts.torch.tensors import array_of, plain, tensor_of
from batchnorm.hosts.torch.traced import as_leaf
from batchnorm.layer import Layer
from batchnorm.vocabulary import Mode, as_dtype

__all__ = ["DialectBatchNorm"]

TORCH_NAMES = {
    "gamma": "weight",
    "beta": "bias",
    "running_mean": "running_mean",
    "running_var": "running_var",
}
BUFFERS = ("running_mean", "running_var", "stddev", "renorm_mean", "renorm_stddev")
NAMES = "bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64 complex64 complex128"
NUMPYS = {getattr(torch, name): as_dtype(name) for name in NAMES.split()}
TORCHS = {found: own for own, found in NUMPYS.items()}


class Held:
    """An entry of a layer's state, as `decide` sees it, whose values a module's tensor has."""

    def __init__(self, tensor: Tensor) -> None:
        self.shape, self.ndim, self.size = tuple(tensor.shape), tensor.dim(), tensor.numel()
        self.dtype = _dtype(tensor)

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise InvalidRuntime("the state is in the module's tensors: to_layer() gives a layer of it")


class DialectBatchNorm(nn.Module):
    """A dialect's layer inside torch; made by `module`.

    Attributes:
        layer: the dialect's layer whose settings count: `made.layer.momentum = 0.5` does. Its
            arrays, mode and `trainable` don't: the state is in this module's parameters and
            buffers, and it has a `training` and a `trainable` of its own.
        synchronized: whether batch statistics are those of all processes.
    """

    _trainable = True

    def __init__(
        self, layer: Layer, torch_names: bool, synchronized: bool, process_group: Any
    ) -> None:
        super().__init__()
        self.layer = copy.deepcopy(layer)
        self.layer.gradients, self.layer._saved = {}, None
        self.synchronized, self.process_group = synchronized, process_group
        arrays = self.layer.state
        self.entries = {layer.STATE[name].role: name for name in arrays}
        self.dtypes = {role: arrays[name].dtype for role, name in self.entries.items()}
        own = {
            role: TORCH_NAMES.get(role, name) if torch_names else name
            for role, name in self.entries.items()
        }
        self.names = {role: own[role] for role in ("gamma", "beta", *own) if role in own}
        for role, name in self.names.items():
            tensor = tensor_of(arrays[self.entries[role]])
            if role in ("gamma", "beta"):
                self.register_parameter(name, nn.Parameter(tensor, layer._trains(role)))
            else:
                self.register_buffer(name, tensor)
            setattr(self.layer, self.entries[role], Held(tensor))
        if torch_names and "count" not in self.names:
            self.register_buffer("num_batches_tracked", torch.tensor(0))
        if not getattr(layer, "trainable", True):
            self.trainable = False
        self.train(bool(getattr(layer, "training", True)))

    def forward(self, input: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalize `input` in the module's mode; a mask, where Keras has them.

        In training by several processes, outside of the graphs of torch.compile.
        """
        if isinstance(input, fx.Proxy):
            return as_leaf(self, *((input,) if mask is None else (input, mask)))
        if self.synchronized and self.training and processes.outside():
            return _outside(self, input, mask)
        layer: Any = self.layer
        tensors = {role: getattr(self, name) for role, name in self.names.items()}
        found = self._decided(input, tensors, mask)
        if found.passes:
            return input
        batch = found.settings.mode is not Mode.RUNNING
        x, dtype = _cast(input, found), TORCHS[found.dtype]
        if found.split is not None:
            x = x.reshape(found.split)
        others = processes.find(self.process_group) if self.synchronized and batch else None
        if found.counts:
            tensors["count"].add_(1)
        elif batch and "num_batches_tracked" in self._buffers:
            self.num_batches_tracked.add_(1)
        y = normalize(
            x,
            tensors.get("gamma") if layer.applies("gamma") else None,
            tensors.get("beta") if layer.applies("beta") else None,
            Buffers(*[tensors.get(role) for role in BUFFERS]),
            found.settings,
            weights=None if found.masking is None else _weights(mask, x, found.masking),
            adjusted=self._adjusted(x) if batch else None,
            processes=others,
            dtype=dtype,
        )
        return y if found.split is None else y.reshape(input.shape)

    @property
    def trainable(self) -> bool:
        """Whether it was not frozen, and one of its parameters, if there are any, learns.

        torch freezes by `requires_grad`, Keras by this, so both count.
        """
        own = [p for p in self._parameters.values() if p is not None]
        return self._trainable and (not own or any(p.requires_grad for p in own))

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        for parameter in self._parameters.values():
            if parameter is not None:
                parameter.requires_grad_(bool(value))

    def to_layer(self) -> Layer:
        """A layer of the dialect with the present settings, state and mode."""
        layer: Any = copy.deepcopy(self.layer)
        for role, name in self.names.items():
            value = array_of(getattr(self, name).detach().cpu())
            setattr(layer, self.entries[role], value.astype(self.dtypes[role]))
        if hasattr(layer, "training"):
            layer.training = self.training
        layer.freeze(self.trainable)
        made: Layer = layer
        return made

    def extra_repr(self) -> str:
        """As the dialect's layer prints itself."""
        return f"{self.layer!r}".strip("<>")

    def _decided(self, x: Tensor, tensors: dict[str, Tensor], mask: Tensor | None) -> Computation:
        """What the layer decides, which is told whether it learns, and of what types its state is.

        Raises:
            NotImplementedError: a running average over all batches.
        """
        layer: Any = self.layer
        if getattr(layer, "trainable", True) is not self.trainable:
            layer.freeze(self.trainable)
        for role, tensor in tensors.items():
            if getattr(layer, self.entries[role]).dtype is not _dtype(tensor):
                setattr(layer, self.entries[role], Held(tensor))
        dtype, total = _dtype(x), self._everywhere if self.synchronized else None
        found: Computation
        if mask is None and total is None and plain(x):
            found = dialect.decided(layer, x.shape, dtype, self.training)
        else:
            found = layer.decide(tuple(x.shape), dtype, self.training, mask, total=total)
        if found.cumulative:
            raise NotSupported("a running average over all batches isn't computed inside torch")
        return found

    def _everywhere(self, values: int) -> int:
        """As many values as count: of several processes none is alone."""
        return values if processes.find(self.process_group) is None else max(values, 2)

    def _adjusted(self, x: Tensor) -> Adjusted | None:
        adjustment = getattr(self.layer, "adjustment", None)
        if adjustment is None:
            return None
        pair = (np.asarray(value, np.float64) for value in adjustment(tuple(x.shape)))
        return Adjusted(*(torch.from_numpy(np.array(value)).to(x.device) for value in pair))


def _dtype(x: Any) -> np.dtype[Any]:
    """A tensor's type as a dialect knows it."""
    found = NUMPYS.get(getattr(x, "dtype", None))
    if found is None:
        kind = getattr(x, "dtype", type(x).__name__)
        raise InvalidType(f"a tensor of one of {', '.join(map(str, NUMPYS))} is taken, got {kind}")
    return found


def _cast(x: Tensor, found: Computation) -> Tensor:
    """The input as the dialect casts it.

    A last step from 16 bits to 32, back to which the result goes, is left to whoever computes.
    """
    x = x.real if x.is_complex() else x
    casts = found.casts
    if len(casts) > 1 and casts[-2] == found.dtype and found.dtype.itemsize < casts[-1].itemsize:
        casts = casts[:-1]
    for dtype in casts:
        x = x.to(TORCHS[dtype])
    return x


def _weights(mask: Any, x: Tensor, masking: Masking) -> Tensor:
    """As `Computation.weights`."""
    shape = tuple(mask.shape)
    try:
        mask = mask.reshape(masking.shape).expand(x.shape)
    except RuntimeError:
        raise InvalidValue(
            f"a mask of shape {shape}, which becomes {masking.shape}, doesn't broadcast to inputs "
            f"of shape {tuple(x.shape)}"
        ) from None
    if masking.truth:
        return (mask != 0).to(torch.float64)
    found = mask.to(x.dtype)
    # A NaN or inf that the mask leaves out still spoils its channel.
    lost = torch.full((), float("nan"), dtype=found.dtype, device=x.device)
    return torch.where(torch.isfinite(x) | (found != 0), found, lost)


@torch.compiler.disable(reason=processes.OUTSIDE)
def _outside(module: DialectBatchNorm, input: Tensor, mask: Tensor | None) -> Tensor:
    return module.forward(input, mask)
