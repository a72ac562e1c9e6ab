"""What stands in a module's own `forward`, in place of its class's: `Bound`.

The module keeps torch's own class, so that whoever asks for it is answered as before. A `Bound`
looks like the method it stands for (signature, source, names of inputs), and a copy or a pickle of
its module has one of its own. Not here: what any of them computes.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as hooks

from batchnorm.errors import InvalidType
from batchnorm.hosts.torch import semantics
from batchnorm.layer import Layer
from batchnorm.vocabulary import Array

__all__ = ["Bound", "bind", "has_hooks", "hooks_for_all", "is_bound", "keep_source", "unbind"]

OF_METHOD = ("__code__", "__globals__", "__closure__", "__defaults__", "__kwdefaults__", "__name__")
PLACES = ("forward", "extra_repr", "_replicate_for_data_parallel", "__prepare_scriptable__")


class Bound:
    """A method of one module.

    Attributes:
        owner: the module.
        ported: whether it follows the rule of its `semantics`, instead of torch's.
        again: whether a copy for another device gets one too.
    """

    place = "forward"
    again = True

    def __init__(self, owner: Any, ported: bool = False) -> None:
        self.owner = owner
        self.ported = ported

    def __deepcopy__(self, memo: dict[int, Any]) -> Bound:
        made = object.__new__(type(self))
        vars(made).update({name: copy.deepcopy(v, memo) for name, v in vars(self).items()})
        return made

    def __reduce__(self) -> Any:
        return type(self), (None,), vars(self)

    @property
    def __wrapped__(self) -> Any:
        """The class's own, which inspect and torch.jit.script look at."""
        return getattr(type(self.owner), self.place).__get__(self.owner)

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self.__wrapped__)

    def layer_of_another(self, arrays: Mapping[str, Array | None]) -> Layer:
        """The layer of the dialect whose rule it follows; `arrays` as `semantics.read` has them."""
        return semantics.read(self.owner, arrays)

    def __getattr__(self, name: str) -> Any:
        if name in OF_METHOD:
            return getattr(getattr(type(self.owner), self.place), name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


class Description(Bound):
    """How a module that follows another dialect's rule prints its settings."""

    place = "extra_repr"

    def __call__(self) -> str:
        """As torch has it, and whose rule it is."""
        return f"{type(self.owner).extra_repr(self.owner)}, semantics={self.owner.semantics!r}"


class Replication(Bound):
    """How torch.nn.DataParallel copies a module: what is bound must be bound to the copy."""

    place = "_replicate_for_data_parallel"

    def __call__(self) -> Any:
        """The copy, which computes with its own tensors."""
        made = type(self.owner)._replicate_for_data_parallel(self.owner)
        for place in PLACES:
            bound = vars(made).pop(place, None)
            if isinstance(bound, Bound) and bound.again:
                vars(made)[place] = type(bound)(made, bound.ported)
        return made


class ScriptSource(Bound):
    """What torch.jit.script compiles instead: the module as its class made it, on its tensors."""

    place = "__prepare_scriptable__"

    def __call__(self) -> nn.Module:
        """A module of modules that are nowhere else, as torch exchanges them in place."""
        return _plain(self.owner, {})


def _plain(module: nn.Module, known: dict[int, nn.Module]) -> nn.Module:
    if id(module) in known or isinstance(module, torch.jit.ScriptModule):
        return known.get(id(module), module)
    made = known[id(module)] = object.__new__(type(module))
    vars(made).update(vars(module))
    if getattr(vars(module).get("forward"), "ported", False):
        raise InvalidType(
            f"torch.jit.script can't compile a batch norm with semantics={module.semantics!r}: "
            "torch.jit.trace or torch.export take it, or batchnorm.hosts.torch.restore first"
        )
    unbind(made)
    inside = module._modules.items()
    vars(made)["_modules"] = {k: m if m is None else _plain(m, known) for k, m in inside}
    return made


def is_bound(module: nn.Module) -> bool:
    """Whether `forward` is ours."""
    return isinstance(vars(module).get("forward"), Bound)


def bind(module: nn.Module, bound: Bound) -> None:
    """Let a module compute by it."""
    vars(module)["forward"] = bound
    vars(module)["_replicate_for_data_parallel"] = Replication(module)
    keep_source(module)
    if bound.ported:
        vars(module)["extra_repr"] = Description(module)


def keep_source(module: nn.Module) -> None:
    """Let torch.jit.script find a module as it was, wherever in it something is bound."""
    if not hasattr(type(module), "__prepare_scriptable__"):
        vars(module)["__prepare_scriptable__"] = ScriptSource(module)


def unbind(module: nn.Module) -> None:
    """Let a module compute as its class does."""
    for place in PLACES:
        if isinstance(vars(module).get(place), Bound):
            del vars(module)[place]


def has_hooks(module: nn.Module) -> bool:
    """Whether it has hooks, or a forward that somebody else gave it: it is joined with nothing."""
    if (
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    ):
        return True
    return "forward" in vars(module) and not is_bound(module)


def hooks_for_all() -> bool:
    """Whether somebody listens to all modules there are."""
    return bool(
        hooks._global_forward_hooks
        or hooks._global_forward_pre_hooks
        or hooks._global_backward_hooks
        or hooks._global_backward_pre_hooks
    )
