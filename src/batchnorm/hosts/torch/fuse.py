"""Batch norm and what follows it, a ReLU or an addition and a ReLU, as one call of the kernel.

A module whose `forward` calls a batch norm and then a ReLU gets a `forward` of its own, made from
torch.fx's graph of it (`graph.py`), in which the batch norm does both. Only calls inside one
`forward` are seen, and nothing else of a model changes. Left alone is what has no such graph, and
whatever has hooks. A module that is changed later gets another graph, or its own `forward` again.
Not here: how the kernel computes it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from batchnorm.hosts.torch.batchnorm import Forward
from batchnorm.hosts.torch.bound import Bound, bind, has_hooks, hooks_for_all, unbind
from batchnorm.hosts.torch.derived import Activated
from batchnorm.hosts.torch.graph import Known, graph_of

__all__ = ["Fused", "fuse", "split"]

RELUS = {torch.relu, torch.relu_, functional.relu, functional.relu_, "relu", "relu_"}
ADDS = {operator.add, operator.iadd, torch.add, "add", "add_"}
IN_PLACE = {operator.iadd, "add_"}


class Fused(Bound):
    """A module's `forward` with its batch norms fused; a copy or a pickle of it is fused too."""

    again = False  # DataParallel's copies live for one call, and a trace takes longer

    def __init__(self, owner: Any, found: Found | None = None) -> None:
        super().__init__(owner)
        self.found = found

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As the owner's class does it."""
        found = self.found
        if not torch.compiler.is_compiling():
            if found is None or not found.holds():  # fresh from a pickle, or changed
                found = self.found = _found(self.owner)
            if hooks_for_all():
                return type(self.owner).forward(self.owner, *args, **kwargs)
        if found is None or found.run is None or not found.suits(args, kwargs):
            return type(self.owner).forward(self.owner, *args, **kwargs)
        return found.run(self.owner, *args)

    def __reduce__(self) -> Any:
        return Fused, (None,), {"owner": self.owner, "found": None}


class Found:
    """What was fused in a `forward`: `run` (None: nothing), and what it depends on."""

    def __init__(
        self,
        known: Known,
        parts: dict[nn.Module, Any],
        inputs: int,
        run: Callable[..., Any] | None,
    ) -> None:
        self.known, self.parts, self.inputs, self.run = known, parts, inputs, run

    def holds(self) -> bool:
        """Whether nothing of it has changed since."""
        parts = self.parts.items()
        return self.known.holds() and all(
            _kind(part) == kind and not has_hooks(part) for part, kind in parts
        )

    def suits(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Whether it is a call like that which was traced: tensors alone, and as many."""
        tensors = all(isinstance(one, Tensor) for one in args)
        return not kwargs and len(args) == self.inputs and tensors


def fuse(model: nn.Module) -> None:
    """Fuse in every module of a model."""
    for module in list(model.modules()):
        if isinstance(module, torch.jit.ScriptModule) or "forward" in vars(module):
            continue
        inside = module.modules()
        next(inside)
        if any(isinstance(vars(one).get("forward"), Forward) for one in inside):
            found = _found(module)
            if found is not None and found.run is not None:
                bind(module, Fused(module, found))


def split(model: nn.Module) -> None:
    """Undo `fuse`."""
    for module in model.modules():
        if isinstance(vars(module).get("forward"), Fused):
            unbind(module)


def _found(module: nn.Module) -> Found | None:
    """The class's `forward` with its batch norms fused, None where it has no graph."""
    graph = graph_of(module)
    if graph is None:
        return None
    modules = dict(module.named_modules(remove_duplicate=False))
    called = {modules[str(node.target)] for node in graph.nodes if node.op == "call_module"}
    known, inputs = Known(module, called), sum(node.op == "placeholder" for node in graph.nodes)
    parts: dict[nn.Module, Any] = {}
    for node in list(graph.nodes):
        parts |= _replace(graph, node, modules)
    if not parts:
        return Found(known, {}, inputs, None)
    graph.lint()
    return Found(known, parts, inputs, type(fx.GraphModule(module, graph)).forward)


def _replace(graph: fx.Graph, relu: fx.Node, modules: dict[str, nn.Module]) -> dict[nn.Module, Any]:
    """The modules that have become one, if this node was a ReLU that could go into a batch norm."""
    if not _is_relu(relu, modules):
        return {}
    before = relu.args[0]
    if not isinstance(before, fx.Node) or len(before.users) != 1:
        return {}
    if _is_batch_norm(before, modules):
        place, norm, addend = before, before, {}
    elif _is_call(before, ADDS) and len(before.args) == 2 and not before.kwargs:
        found = _operands(before, modules)
        if found is None:
            return {}
        place, (norm, other) = before, found
        addend = {"addend": other}
    else:
        return {}
    with graph.inserting_before(place):
        new = graph.call_module(norm.target, norm.args, {**addend, "relu": True})
    relu.replace_all_uses_with(new)
    for node in dict.fromkeys((relu, place, norm)):
        graph.erase_node(node)
    own = [modules[str(node.target)] for node in (norm, relu) if node.op == "call_module"]
    return {part: _kind(part) for part in own}


def _operands(add: fx.Node, modules: dict[str, nn.Module]) -> tuple[fx.Node, fx.Node] | None:
    """The batch norm that can do an addition, and what it adds.

    It then runs where the addition did, so nobody else may use (and change) its input meanwhile,
    and its module may not be called for another batch: running statistics go by the order.
    """
    first, second = add.args
    pairs = [(first, second)] if add.target in IN_PLACE else [(first, second), (second, first)]
    for norm, other in pairs:
        if not isinstance(norm, fx.Node) or not isinstance(other, fx.Node) or norm is other:
            continue
        if _is_batch_norm(norm, modules) and len(norm.users) == 1:
            source = norm.args[0]
            alone = isinstance(source, fx.Node) and set(source.users) <= {norm, add}
            if alone and not _called_between(norm, add, modules):
                return norm, other
    return None


def _called_between(norm: fx.Node, end: fx.Node, modules: dict[str, nn.Module]) -> bool:
    """Whether the module of `norm` is called again before `end`."""
    own, node = modules[str(norm.target)], norm.next
    while node is not end:
        if node.op == "call_module" and modules[str(node.target)] is own:
            return True
        node = node.next
    return False


def _kind(part: nn.Module) -> Any:
    """What must stay as it is for a part to stay fused."""
    bound = vars(part).get("forward")
    after = type(part.act) if isinstance(bound, Activated) else None
    return type(part), type(bound), after


def _is_call(node: fx.Node, targets: set[Any]) -> bool:
    return node.op in ("call_function", "call_method") and node.target in targets


def _is_relu(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    if node.op == "call_module":
        module = modules[str(node.target)]
        return type(module) is nn.ReLU and not has_hooks(module) and len(node.args) == 1
    return _is_call(node, RELUS) and bool(node.args)


def _is_batch_norm(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    if node.op != "call_module" or node.kwargs or len(node.args) != 1:
        return False
    module = modules[str(node.target)]
    bound = vars(module).get("forward")
    if not isinstance(bound, Forward) or has_hooks(module):
        return False
    return not isinstance(bound, Activated) or type(module.act) is nn.Identity
