"""What torch.nn.Module gives a layer: the training flag, and its state as a dictionary.

Source: PyTorch 2.13.0, torch/nn/modules/module.py and the version rule of batchnorm.py. Not here:
anything else about batch normalization (`layers.py`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from batchnorm.errors import InvalidRuntime, InvalidType, InvalidValue
from batchnorm.layer import Layer
from batchnorm.newer_python import Self
from batchnorm.vocabulary import Array

__all__ = ["IncompatibleKeys", "Module", "StateDict"]

VERSION = 2  # since version 2 a state_dict holds num_batches_tracked


class StateDict(OrderedDict[str, Array]):
    """Names and arrays, with `_metadata` as torch writes it: prefix -> {"version": 2}."""

    _metadata: dict[str, dict[str, int]]


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict(strict=False)` could not place."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        missing, unexpected = self
        return f"_IncompatibleKeys(missing_keys={missing}, unexpected_keys={unexpected})"


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
        values, incompatible = _load(type(self).__name__, own, state_dict, strict)
        for name, value in values.items():
            if assign:
                setattr(self, name, np.array(state_dict.get(name, value)))
            else:
                own[name][...] = value
        return incompatible


def _load(
    layer_name: str, own: Mapping[str, Array], state_dict: Mapping[str, Any], strict: bool
) -> tuple[dict[str, Array], IncompatibleKeys]:
    """The values for a layer's own arrays, checked, converted to their types; changes nothing.

    Raises:
        TypeError: `state_dict` is no mapping.
        RuntimeError: names are missing or unexpected and `strict`, or a shape differs.
    """
    if not isinstance(state_dict, Mapping):
        raise InvalidType(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
    given = dict(state_dict)
    version = (getattr(state_dict, "_metadata", None) or {}).get("", {}).get("version")
    if (version is None or version < VERSION) and "num_batches_tracked" in own:
        given.setdefault("num_batches_tracked", own["num_batches_tracked"])
    missing = [name for name in own if name not in given]
    unexpected = [name for name in given if name not in own]
    problems = []
    if strict and missing:
        problems.append(f"Missing key(s) in state_dict: {_quoted(missing)}. ")
    if strict and unexpected:
        problems.append(f"Unexpected key(s) in state_dict: {_quoted(unexpected)}. ")
    values = {}
    for name in (name for name in own if name in given):
        value, shape = np.asarray(given[name]), own[name].shape
        if shape == () and value.shape == (1,):
            value = value.reshape(())
        if value.shape != shape:
            problems.append(
                f"size mismatch for {name}: got shape {value.shape}, expected shape {shape}."
            )
            continue
        with np.errstate(all="ignore"):
            values[name] = value.astype(own[name].dtype)
    if problems:
        raise InvalidRuntime(
            f"Error(s) in loading state_dict for {layer_name}:\n\t" + "\n\t".join(problems)
        )
    return values, IncompatibleKeys(missing, unexpected)


def _quoted(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
