"""What mindspore.nn.Cell gives a layer: the training flag, names of parameters, and how it prints.

Not here: anything about batch normalization (`layers.py`).
Source: MindSpore 2.10.0, mindspore/nn/cell.py and mindspore/train/serialization.py. The trap: a
bare layer's statistics are called `mean` and `variance`, those of a layer inside a net
`bn1.moving_mean` and `bn1.moving_variance`. What has no name of its own is found by suffix unless
`strict_load`, of the first prefix that fits, and what is not found even so is skipped in silence.
Deviations: arrays are taken where MindSpore wants its own parameters; a value that can't be loaded
leaves the whole net as it was; one of shape (C, 1, 1) comes in as (C,), where MindSpore gives the
layer that shape; remove_redundancy=True, for distributed training, is refused as outside of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from batchnorm.errors import InvalidRuntime, InvalidType, InvalidValue
from batchnorm.layer import Layer
from batchnorm.newer_python import Self
from batchnorm.vocabulary import Array, complement

__all__ = ["Cell", "load_param_into_net"]

FLOATING = frozenset({"float16", "float32", "float64", "bfloat16"})
INTEGER = frozenset({"int8", "int16", "int32", "int64"})


class Cell(Layer):
    """A layer that starts in inference mode and is called by `construct`."""

    INNER: ClassVar[str] = ""  # the inner layer that holds the parameters, with a dot
    BRACKETS: ClassVar = ("(", ")", ")")  # of repr; the last one ends a layer that has one inside

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
        return {spelled: getattr(self, own) for own, spelled in _names(self, name).items()}

    def trainable_params(self, recurse: bool = True) -> list[str]:
        """Names of the parameters that an optimizer gets: none if made with affine=False."""
        return ["gamma", "beta"] if self._affine and (recurse or not self.INNER) else []

    def __repr__(self) -> str:
        spelled = _names(self)
        entries = ", ".join(
            f"{own}=Parameter (name={spelled[own]}, shape={getattr(self, own).shape}, "
            f"dtype={getattr(self, own).dtype.name.capitalize()}, "
            f"requires_grad={own in self.trainable_params()})"
            for own in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        settings = f"num_features={self.num_features}, eps={self.eps}"
        (start, end, last), name = self.BRACKETS, type(self).__name__
        printed = f"{start}{settings}, momentum={complement(self.momentum)}, {entries}{end}"
        if not self.INNER:
            return name + printed
        return f"{name}{start}\n  (bn2d): BatchNorm2d{printed}\n{last}"

    def _trains(self, role: str) -> bool:
        return self._affine


def _names(layer: Any, name: str = "") -> dict[str, str]:
    """Attribute name -> name in a checkpoint, of a bare layer or of one called `name` in a net."""
    prefix = f"{name}.{layer.INNER}" if name else layer.INNER
    if prefix:
        return {own: prefix + own for own in layer.STATE}
    return {own: entry.bare_name or own for own, entry in layer.STATE.items()}


def load_param_into_net(
    net: Layer | Mapping[str, Layer],
    parameter_dict: Mapping[str, Any],
    strict_load: bool = False,
    remove_redundancy: bool = False,
) -> tuple[list[str], list[str]]:
    """Copy values into a bare layer, or into the layers of a net given as {attribute: layer}.

    A parameter whose name isn't given takes the value of a name that ends with it, if all of its
    prefix agrees with the others': a bare layer takes `bn1.gamma`, and `moving_mean` as its
    `mean`. With `strict_load` names and dtypes must be equal; without it floating dtypes are
    converted to each other, and so are integers.

    Returns the names of the net that got no value, and the names given that are no name of the
    net, though they may have been taken by their ends. Raises nothing for either, as MindSpore
    does: look at both.

    Raises:
        TypeError: `parameter_dict` is no mapping of names to arrays, `strict_load` no bool.
        ValueError: `remove_redundancy` is no bool.
        RuntimeError: a shape or the kind of a dtype differs; nothing is changed then.
    """
    if not isinstance(parameter_dict, Mapping):
        raise InvalidType(f"'parameter_dict' must be a dict, but got {type(parameter_dict)}.")
    for name, value in parameter_dict.items():
        if not isinstance(name, str) or not hasattr(value, "shape"):
            raise InvalidType(f"'parameter_dict' must map str to arrays, got {name!r}: {value!r}")
    if not isinstance(strict_load, bool):
        raise InvalidType(f"'strict_load' must be a bool, but got {strict_load!r}.")
    if not isinstance(remove_redundancy, bool):
        raise InvalidValue(f"'remove_redundancy' must be a bool, but got {remove_redundancy!r}.")
    if remove_redundancy:
        raise InvalidType("remove_redundancy=True needs distributed training; expected False.")
    layers = {"": net} if isinstance(net, Layer) else net
    targets = {
        spelled: getattr(layer, own)
        for name, layer in layers.items()
        for own, spelled in _names(layer, name).items()
    }
    sources = {name: name for name in targets if name in parameter_dict}
    missing = [name for name in targets if name not in sources]
    if not strict_load:
        missing = _find_by_suffix(sources, missing, parameter_dict)
    # All of them first: nothing is changed by a bad one, nor by the net's own arrays.
    values = {
        name: _value(name, targets[name], parameter_dict[source], strict_load)
        for name, source in sources.items()
    }
    for name, value in values.items():
        with np.errstate(all="ignore"):
            targets[name][...] = value
    return missing, [name for name in parameter_dict if name not in targets]


def _find_by_suffix(
    sources: dict[str, str], missing: list[str], given: Mapping[str, Any]
) -> list[str]:
    """Add to `sources` what ends with a missing name, prefix by prefix; returns what stays missing.

    A prefix that equals the first missing name counts as none, and ends the search.
    """
    none = missing[0] if missing else ""
    while missing:
        firsts = ((name, next((g for g in given if g.endswith(name)), None)) for name in missing)
        prefixes = (found[: -len(name)] for name, found in firsts if found is not None)
        prefix = next((found for found in prefixes if found != none), None)
        if prefix is None:
            break
        sources.update({name: prefix + name for name in missing if prefix + name in given})
        missing = [name for name in missing if name not in sources]
    return missing


def _value(name: str, target: Array, given: Any, strict: bool) -> Array:
    """A copy of the given value, as it may be an array of the net itself, checked and shaped."""
    value = np.array(given)
    trailing = value.shape[target.ndim :]
    if value.shape[: target.ndim] != target.shape or trailing != (1,) * len(trailing):
        raise InvalidRuntime(
            f"{name} has shape {target.shape} in 'net' and {value.shape} in 'parameter_dict'; "
            "they must be the same."
        )
    dtypes = {target.dtype.name, value.dtype.name}
    alike = not strict and (dtypes <= FLOATING or dtypes <= INTEGER)
    if len(dtypes) > 1 and not alike:
        raise InvalidRuntime(
            f"{name} has dtype {target.dtype.name} in 'net' and {value.dtype.name} in "
            "'parameter_dict'; expected the same"
            + (" with strict_load=True." if strict else ", or both floating, or both integers.")
        )
    return value.reshape(target.shape)
