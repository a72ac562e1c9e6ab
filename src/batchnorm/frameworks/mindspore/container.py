"""What mindspore.nn.Cell gives a layer: the training flag, names of parameters, and how it prints.

Source: MindSpore 2.10.0, mindspore/nn/cell.py. Not here: anything about batch normalization
(`mindspore.py`).
"""

from __future__ import annotations

from typing import Any, ClassVar

from batchnorm.frameworks.mindspore.parameters_dict import names
from batchnorm.layer import Layer
from batchnorm.newer_python import Self
from batchnorm.vocabulary import Array, complement

__all__ = ["Cell"]


class Cell(Layer):
    """A layer that starts in inference mode and is called by `construct`."""

    INNER: ClassVar[str] = ""  # the inner layer that holds the parameters, with a dot

    training: bool
    _affine: bool
    num_features: int
    eps: Any
    momentum: Any

    def set_train(self, mode: bool = True) -> Self:
        """Training or inference; a new layer is in inference mode."""
        self.training = mode  # MindSpore takes anything; what counts is whether it is true
        return self

    def __call__(self, x: Any) -> Array:
        """Normalize `x`, as `construct` does."""
        return self.construct(x)

    def construct(self, x: Any) -> Array:
        """What the layer computes."""
        raise NotImplementedError

    def parameters_dict(self, recurse: bool = True, *, name: str = "") -> dict[str, Array]:
        """The layer's own arrays (not copies) as a checkpoint spells them.

        Bare (no `name`, which MindSpore doesn't have) the statistics are called `mean` and
        `variance`; as attribute `name` of a net they are `name.moving_mean` and
        `name.moving_variance`. Without `recurse` those of inner layers are left out.
        """
        if self.INNER and not recurse:
            return {}
        return {spelled: getattr(self, own) for own, spelled in names(self, name).items()}

    def trainable_params(self, recurse: bool = True) -> list[str]:
        """Names of the parameters that an optimizer gets: none if made with affine=False."""
        return ["gamma", "beta"] if self._affine and (recurse or not self.INNER) else []

    def __repr__(self) -> str:
        spelled = names(self)
        entries = ", ".join(
            f"{own}=Parameter (name={spelled[own]}, shape={getattr(self, own).shape}, "
            f"dtype={getattr(self, own).dtype.name.capitalize()}, "
            f"requires_grad={own in self.trainable_params()})"
            for own in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        settings = f"num_features={self.num_features}, eps={self.eps}"
        printed = f"({settings}, momentum={complement(self.momentum)}, {entries})"
        name = type(self).__name__
        return f"{name}(\n  (bn2d): BatchNorm2d{printed}\n)" if self.INNER else name + printed

    def _trains(self, role: str) -> bool:
        return self._affine
