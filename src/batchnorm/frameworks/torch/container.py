"""What torch.nn.Module gives a layer: the training flag, and its state as a dictionary.

Source: PyTorch 2.13.0, torch/nn/modules/module.py. Not here: anything about batch normalization
(`torch.py`), and the dictionary itself (`state_dict.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from batchnorm.errors import InvalidValue
from batchnorm.frameworks.torch.state_dict import VERSION, IncompatibleKeys, StateDict, load
from batchnorm.layer import Layer
from batchnorm.newer_python import Self
from batchnorm.vocabulary import Array

__all__ = ["Module"]


class Module(Layer):
    """A layer that starts in training mode and is called by `forward`."""

    training: bool

    def train(self, mode: bool = True) -> Self:
        """Training mode, in which a new layer is; `requires_grad` has no say in this."""
        if not isinstance(mode, bool):
            raise InvalidValue(f"training mode is expected to be boolean, but got {mode!r}")
        self.training = mode
        return self

    def eval(self) -> Self:
        """Evaluation mode: `train(False)`."""
        return self.train(False)

    def __call__(self, input: Any) -> Array:
        """Normalize `input`, as `forward` does."""
        return self.forward(input)

    def forward(self, input: Any) -> Array:
        """What the layer computes."""
        raise NotImplementedError

    def state_dict(
        self,
        *,
        destination: StateDict | None = None,
        prefix: str = "",
        keep_vars: bool = False,
    ) -> StateDict:
        """The layer's own arrays (not copies) by name, with torch's version metadata.

        They are added to `destination` if one is given. NumPy's arrays carry no graph to be kept
        or dropped, so `keep_vars` says nothing here.
        """
        found = StateDict() if destination is None else destination
        if destination is None:
            found._metadata = {}
        if hasattr(found, "_metadata"):  # an ordinary dictionary may be given, too
            found._metadata[prefix[:-1]] = {"version": VERSION}
        found.update({prefix + name: getattr(self, name) for name in self._present()})
        return found

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copy values in, converted to the layer's types (with `assign`, keeping their own).

        `num_batches_tracked` may be missing where the mapping's metadata has no version or one
        below 2. Raises RuntimeError for missing or unexpected names (if `strict`) and for other
        shapes; nothing is changed then.
        """
        own = {name: getattr(self, name) for name in self._present()}
        values, incompatible = load(type(self).__name__, own, state_dict, strict)
        for name, value in values.items():
            if assign:
                setattr(self, name, np.array(state_dict.get(name, value)))
            else:
                own[name][...] = value
        return incompatible
