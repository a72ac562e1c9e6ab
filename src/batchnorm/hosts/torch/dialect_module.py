"""A layer of MindSpore's or a Keras dialect as a torch.nn.Module.

Parameters and buffers hold the state; the dialect's layer, kept as `layer`, says what each call is
done with. Not here: any rule of a dialect, or any arithmetic.
"""

from __future__ import annotations

import copy
import math
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from batchnorm.errors import InvalidType, InvalidValue
from batchnorm.frameworks.keras.layer import KerasLayer
from batchnorm.frameworks.keras2 import layers as tf_keras
from batchnorm.frameworks.keras3 import layers as keras
from batchnorm.hosts.torch import masks, processes, rules
from batchnorm.hosts.torch.formulas import Adjusted, Buffers
from batchnorm.hosts.torch.freezing import Freezing
from batchnorm.hosts.torch.normalize import normalize
from batchnorm.hosts.torch.tensors import array_of, tensor_of
from batchnorm.hosts.torch.traced import as_leaf
from batchnorm.layer import Layer
from batchnorm.vocabulary import Mode

__all__ = ["DialectBatchNorm"]

TORCH_NAMES = {
    "gamma": "weight",
    "beta": "bias",
    "running_mean": "running_mean",
    "running_var": "running_var",
}


class DialectBatchNorm(Freezing):
    """A dialect's layer inside torch; made by `module`.

    Attributes:
        layer: the dialect's layer whose settings count: `made.layer.momentum = 0.5` does. Its
            arrays, mode and `trainable` don't: the state is in this module's parameters and
            buffers, and it has a `training` and a `trainable` of its own.
        synchronized: whether batch statistics are those of all processes.
    """

    def __init__(
        self, layer: Layer, torch_names: bool, synchronized: bool, process_group: Any
    ) -> None:
        super().__init__()
        self.layer = copy.deepcopy(layer)
        self.layer.gradients, self.layer._saved = {}, None
        self.synchronized, self.process_group = synchronized, process_group
        present = {
            layer.STATE[name].role: (name, value) for name, value in self.layer.state.items()
        }
        own = {
            role: TORCH_NAMES.get(role, name) if torch_names else name
            for role, (name, _) in present.items()
        }
        self.names = {role: own[role] for role in ("gamma", "beta", *own) if role in own}
        for role, name in self.names.items():
            tensor = tensor_of(present[role][1])
            if role in ("gamma", "beta"):
                self.register_parameter(name, nn.Parameter(tensor, layer._trains(role)))
            else:
                self.register_buffer(name, tensor)
        if torch_names:
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
        x, dtype = self._cast(input)
        self._check(x)
        groups, empty = 1, x.numel() == 0
        channels = math.prod([x.shape[axis] for axis in self._axes(x.dim())])
        values = x.numel() // max(channels, 1)
        fused = bool(getattr(layer, "fused", False))
        if mask is not None and fused:
            warnings.warn(
                "fused=True ignores the mask; make the layer with fused=False to have it honoured",
                stacklevel=2,
            )
            mask = None
        mode = self._mode()
        if isinstance(layer, tf_keras.BatchNormalization) and layer.virtual_batch_size is not None:
            size = layer.virtual_batch_size if mode is not Mode.RUNNING and not empty else None
            x = self._split(x, size)
            groups = x.shape[1]
        batch = mode is not Mode.RUNNING
        weights = None
        if mask is not None:
            weights = masks.weights(mask, x, layer, batch)
        others = processes.find(self.process_group) if self.synchronized and batch else None
        size = 2 if values > 1 or others is not None else values
        settings = rules.of_layer(layer, x.dim(), size, groups, mode, weights is not None)
        if "num_batches_tracked" in self._buffers and batch:
            self.num_batches_tracked.add_(1)
        y = normalize(
            x,
            self._applied("gamma", fused),
            self._applied("beta", fused),
            Buffers(*[self._tensor(role) for role in BUFFERS]),
            settings,
            weights=weights,
            adjusted=self._adjusted(x) if batch else None,
            processes=others,
            dtype=dtype,
        )
        return y.reshape(input.shape) if y.dim() != input.dim() else y

    def to_layer(self) -> Layer:
        """A layer of the dialect with the present settings, state and mode."""
        layer: Any = copy.deepcopy(self.layer)
        own = {name: entry.role for name, entry in layer.STATE.items()}
        layer.load_state({name: array_of(self._state(own[name])) for name in layer.state})
        if not isinstance(layer, KerasLayer):
            layer.training = self.training
        else:
            layer.trainable = self.trainable
        made: Layer = layer
        return made

    def extra_repr(self) -> str:
        """As the dialect's layer prints itself."""
        return f"{self.layer!r}".strip("<>")

    def _mode(self) -> Mode:
        layer: Any = self.layer
        if isinstance(layer, KerasLayer):
            mode: Mode = layer.mode(self.training, self.trainable)  # type: ignore[attr-defined]
        else:
            mode = layer.mode(self.training, layer.use_batch_statistics)
            moves = self._tensor("running_mean").dtype is torch.float32
            if mode is Mode.BATCH_AND_UPDATE and not moves:
                mode = Mode.BATCH  # as the dialect has it
        return mode

    def _axes(self, rank: int) -> list[int]:
        """The channel axes of the inputs, without that of ghost batches."""
        layer: Any = self.layer
        if not isinstance(layer, KerasLayer):
            return [1 if layer._format == "NCHW" else rank - 1]
        return [axis % layer._input_spec[0] for axis in layer._input_spec[1]]

    def _cast(self, x: Tensor) -> tuple[Tensor, torch.dtype | None]:
        """The input in the dialect's type for it, and the type of the result."""
        layer: Any = self.layer
        if not isinstance(layer, KerasLayer):
            if x.dtype not in (torch.float16, torch.float32):
                raise InvalidType(f"MindSpore takes float16 and float32, but got {x.dtype}")
            return x, None
        compute = getattr(torch, layer.compute_dtype)
        x = x.real if x.is_complex() else x
        if isinstance(layer, keras.BatchNormalization) and not (
            x.is_floating_point() and layer.autocast
        ):
            return x if x.dtype is torch.float64 else x.to(torch.float32), compute
        return x.to(compute), compute

    def _check(self, x: Tensor) -> None:
        """Rank and number of channels, with the error that the dialect has for them."""
        layer: Any = self.layer
        shape = tuple(x.shape)
        if isinstance(layer, KerasLayer):
            ranks, lengths = (layer._input_spec[0],), dict(layer._input_spec[1])
        else:
            ranks = layer.RANKS
            lengths = dict.fromkeys(self._axes(len(shape)), layer.num_features)
        if len(shape) not in ranks:
            expected = " or ".join(str(rank) for rank in ranks)
            raise InvalidValue(
                f"the input must have {expected} dimensions, but its shape is {shape}"
            )
        for axis, length in lengths.items():
            if shape[axis] != length:
                raise InvalidValue(
                    f"axis {axis} of the input must have length {length}, but its shape is {shape}"
                )

    @staticmethod
    def _split(x: Tensor, size: int | None) -> Tensor:
        """Ghost batches, as the dialect's file has them: sample i goes to i modulo their number."""
        if size is None:
            return x[:, None]
        if x.shape[0] % size:
            raise InvalidValue(
                f"virtual_batch_size={size} doesn't divide the batch of {x.shape[0]}"
            )
        return x.reshape(size, -1, *x.shape[1:])

    def _adjusted(self, x: Tensor) -> Adjusted | None:
        adjustment = getattr(self.layer, "adjustment", None)
        if adjustment is None:
            return None
        pair = (np.asarray(value, np.float64) for value in adjustment(tuple(x.shape)))
        return Adjusted(*(torch.from_numpy(np.array(value)).to(x.device) for value in pair))

    def _applied(self, role: str, fused: bool) -> Tensor | None:
        """gamma or beta, unless Keras' `scale` or `center` was set to false later."""
        layer: Any = self.layer
        asked = isinstance(layer, keras.BatchNormalization) or fused
        if asked and not (layer.scale if role == "gamma" else layer.center):
            return None
        return self._tensor(role)

    def _tensor(self, role: str) -> Any:
        name = self.names.get(role)
        return None if name is None else getattr(self, name)

    def _state(self, role: str) -> Tensor:
        found: Tensor = self._tensor(role)
        return found.detach().cpu()


@torch.compiler.disable(reason=processes.OUTSIDE)
def _outside(module: DialectBatchNorm, input: Tensor, mask: Tensor | None) -> Tensor:
    return module.forward(input, mask)


BUFFERS = ("running_mean", "running_var", "stddev", "renorm_mean", "renorm_stddev")
