"""The graph of one module's `forward`, for `fuse.py`, and whether it still is what it was made of.

torch.fx runs a `forward` once, with stand-ins for tensors, and keeps what was done to these. All
else that `forward` reads, and every branch it takes, is settled then. So a graph is only made where
it comes out the same in every mode, and `Known` tells whether what was read is as it was. What
that can't see: variables outside of the module, its class and its attributes. Not here: what is
done with the graph.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from batchnorm.hosts.torch.bound import Bound

__all__ = ["Known", "graph_of"]

PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, torch.Size)
CONTAINERS = (list, tuple, dict, set, frozenset)
MOST = 1000
"""Elements of an attribute: longer ones aren't compared at every call."""
STANDARD = set(vars(nn.Module())) | {"forward"}


class Known:
    """What a trace of a module's `forward` depended on; a deep copy of it is about the copy."""

    def __init__(self, owner: nn.Module, called: set[nn.Module]) -> None:
        self.owner, self.kind = owner, type(owner)
        self.own, self.of_class = _copied(_attributes(owner)), _copied(_of_class(type(owner)))
        self.missing = _missing(owner)
        self.inside = [(m, dict(m._modules)) for m in _not_called(owner, called)]

    def holds(self) -> bool:
        """Whether all of it is as it was."""
        owner, kind = self.owner, self.kind
        return (
            type(owner) is kind
            and _missing(owner) == self.missing
            and all(m._modules == children for m, children in self.inside)
            and _same(self.own, _attributes(owner))
            and all(_same(one, getattr(kind, name, None)) for name, one in self.of_class.items())
        )


def graph_of(module: nn.Module) -> fx.Graph | None:
    """The graph of the `forward` of a module's class, with submodules as leaves.

    None where there is no such graph, or not one for training and evaluation, with gradients and
    without. Only what has no default is an input, and stands for a tensor.
    """
    graphs = []
    for training in (False, True):
        for gradients in (False, True):
            try:
                twin = _twin(module, training)
                known = Known(twin, set())
                with torch.set_grad_enabled(gradients):
                    graphs.append(_Tracer().trace(twin))
            except Exception:  # what a foreign forward raises under a tracer may be anything
                return None
            tensors = [one for one in vars(twin).values() if isinstance(one, Tensor)]
            if not known.holds() or any(one._version for one in tensors):
                return None
    return graphs[0] if len({str(graph) for graph in graphs}) == 1 else None


class _Stand(fx.Proxy):  # type: ignore[misc, unused-ignore]
    """Stands for a value. An input is a tensor; of nothing else is it known what it is."""

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        if self.node.op == "placeholder":
            return Tensor
        raise fx.proxy.TraceError("the class of a result isn't known")


def _in_place(name: str) -> Callable[[Any, Any], Any]:
    def method(self: Any, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", getattr(operator, name), (self, other), {})

    return method


for _name in ("iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow", "iand", "ior"):
    setattr(_Stand, f"__{_name}__", _in_place(_name))  # which fx would do out of place


class _Tracer(fx.Tracer):  # type: ignore[misc, unused-ignore]
    """Sees one `forward`; what it calls stays a call, what it reads of tensors is read again."""

    proxy_buffer_attributes = True

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Stand(node, self)

    def create_arg(self, a: Any) -> Any:
        return a.node if type(a) is _Stand else super().create_arg(a)

    def create_args_for_root(
        self, root_fn: Callable[..., Any], is_module: bool, concrete_args: Any = None
    ) -> tuple[Callable[..., Any], list[Any]]:
        _, *given = inspect.signature(root_fn).parameters.values()
        needed = [one for one in given if one.default is one.empty]
        if any(one.kind not in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD) for one in needed):
            raise TypeError("how many inputs there are isn't known")
        stands = [self.create_proxy("placeholder", one.name, (), {}) for one in needed]
        return root_fn, [self.root, *stands]


def _twin(module: nn.Module, training: bool) -> nn.Module:
    """The module with attributes of its own, so that a trace can change nothing."""
    twin: nn.Module = object.__new__(type(module))
    for name, value in vars(module).items():
        if name == "forward":
            continue
        if name in STANDARD:
            value = dict(value) if isinstance(value, dict) else value
        else:
            value = value.detach().clone() if isinstance(value, Tensor) else _copied(value)
        vars(twin)[name] = value
    vars(twin)["training"] = training
    return twin


def _attributes(module: nn.Module) -> dict[str, Any]:
    own = vars(module).items()
    return {k: v for k, v in own if k not in STANDARD and not isinstance(v, Bound)}


def _of_class(kind: type) -> dict[str, Any]:
    """What is no method of a class."""
    classes = kind.__mro__[: kind.__mro__.index(nn.Module)]
    found = {name: value for one in reversed(classes) for name, value in vars(one).items()}
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, (*PLAIN, *CONTAINERS)) and not name.startswith("__")
    }


def _missing(module: nn.Module) -> list[bool]:
    return [v is None for own in (module._parameters, module._buffers) for v in own.values()]


def _not_called(module: nn.Module, called: set[nn.Module]) -> list[nn.Module]:
    """The module, and what is in it without being called: lists and dictionaries of modules."""
    found, left = [module], [module]
    while left:
        for child in left.pop()._modules.values():
            if child is not None and child not in called and child not in found:
                found.append(child)
                left.append(child)
    return found


def _copied(value: Any) -> Any:
    if not isinstance(value, CONTAINERS):
        return value
    if len(value) > MOST:
        raise ValueError(f"an attribute of {len(value)} values")
    if isinstance(value, dict):
        return {key: _copied(one) for key, one in value.items()}
    if isinstance(value, set | frozenset):
        return set(value)
    copied = [_copied(one) for one in value]
    return copied if isinstance(value, list) else tuple(copied)


def _same(one: Any, other: Any) -> bool:
    """Whether a copy is still that of the other; what is no plain value must be the same object."""
    if one is other:
        return True
    if isinstance(one, dict):
        known = isinstance(other, dict) and one.keys() == other.keys()
        return known and all(_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple):
        known = isinstance(other, type(one)) and len(one) == len(other)
        return known and all(map(_same, one, other))
    if isinstance(one, set):
        return isinstance(other, set | frozenset) and one == other
    return isinstance(one, PLAIN) and type(one) is type(other) and bool(one == other)
