"""Batch norm and what follows it, a ReLU or an addition and a ReLU, as one call of the kernel.

A module whose `forward` calls a batch norm and then a ReLU gets a `forward` of its own, made from
torch.fx's graph of it, in which the batch norm does both. Every submodule is a leaf of that graph,
so only calls inside one `forward` are seen, and nothing else of a model changes. Left alone is
what can't be traced, what is traced otherwise in training than in evaluation, and whatever has
hooks. Not here: how the kernel computes it.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from batchnorm.hosts.torch.batchnorm import Hosted

__all__ = ["Fused", "fuse", "split"]

RELUS = {torch.relu, torch.relu_, functional.relu, functional.relu_, "relu", "relu_"}
ADDS = {operator.add, operator.iadd, torch.add, "add", "add_"}
IN_PLACE = {operator.iadd, "add_"}


class Fused:
    """A module's `forward` with its batch norms fused; a copy or a pickle of it is fused too."""

    def __init__(self, owner: nn.Module, run: Callable[..., Any] | None) -> None:
        self.owner, self.run = owner, run

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As the owner's class does it."""
        if self.run is None:  # fresh from a pickle
            self.run = _fused(self.owner) or type(self.owner).forward
        return self.run(self.owner, *args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> Fused:
        return Fused(copy.deepcopy(self.owner, memo), self.run)

    def __reduce__(self) -> Any:
        return Fused, (None, None), {"owner": self.owner, "run": None}


def fuse(model: nn.Module) -> None:
    """Fuse in every module of a model."""
    for module in list(model.modules()):
        if isinstance(module, Hosted | torch.jit.ScriptModule) or "forward" in vars(module):
            continue
        inside = module.modules()
        next(inside)
        if any(isinstance(one, Hosted) for one in inside):
            run = _fused(module)
            if run is not None:
                module.forward = Fused(module, run)


def split(model: nn.Module) -> None:
    """Undo `fuse`."""
    for module in model.modules():
        if isinstance(vars(module).get("forward"), Fused):
            del vars(module)["forward"]


class _Tracer(fx.Tracer):  # type: ignore[misc, unused-ignore]
    """Sees one `forward`; what it calls stays a call."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True


def _fused(module: nn.Module) -> Callable[..., Any] | None:
    """The class's `forward` with its batch norms fused, None where there is nothing to fuse."""
    graph = _graph(module)
    if graph is None:
        return None
    modules = dict(module.named_modules())
    done = [_replace(graph, node, modules) for node in list(graph.nodes)]
    if not any(done):
        return None
    graph.lint()
    run: Callable[..., Any] = type(fx.GraphModule(module, graph)).forward
    return run


def _graph(module: nn.Module) -> fx.Graph | None:
    """The graph of one `forward`, if it is the same in training and evaluation mode."""
    before, training = dict(vars(module)), module.training
    graphs = []
    try:
        for mode in (False, True):
            vars(module)["training"] = mode
            graphs.append(_Tracer().trace(module))
    except Exception:  # what a foreign forward raises under a tracer may be anything
        return None
    finally:
        changed = any(
            before.get(name) is not value
            for name, value in vars(module).items()
            if name != "training"
        )
        vars(module).clear()
        vars(module).update(before)
        vars(module)["training"] = training
    same = not changed and str(graphs[0]) == str(graphs[1])
    return graphs[0] if same else None


def _replace(graph: fx.Graph, relu: fx.Node, modules: dict[str, nn.Module]) -> bool:
    """Whether this node was a ReLU that could go into a batch norm, and now has."""
    if not _is_relu(relu, modules):
        return False
    before = relu.args[0]
    if not isinstance(before, fx.Node) or len(before.users) != 1:
        return False
    if _is_batch_norm(before, modules):
        place, norm, addend = before, before, {}
    elif _is_call(before, ADDS) and len(before.args) == 2 and not before.kwargs:
        found = _operands(before, modules)
        if found is None:
            return False
        place, (norm, other) = before, found
        addend = {"addend": other}
    else:
        return False
    with graph.inserting_before(place):
        new = graph.call_module(norm.target, norm.args, {**addend, "relu": True})
    relu.replace_all_uses_with(new)
    for node in dict.fromkeys((relu, place, norm)):
        graph.erase_node(node)
    return True


def _operands(add: fx.Node, modules: dict[str, nn.Module]) -> tuple[fx.Node, fx.Node] | None:
    """The batch norm that can do an addition, and what it adds.

    It then runs where the addition did, so nobody else may use (and change) its input meanwhile.
    """
    first, second = add.args
    pairs = [(first, second)] if add.target in IN_PLACE else [(first, second), (second, first)]
    for norm, other in pairs:
        if not isinstance(norm, fx.Node) or not isinstance(other, fx.Node) or norm is other:
            continue
        if _is_batch_norm(norm, modules) and len(norm.users) == 1:
            source = norm.args[0]
            if isinstance(source, fx.Node) and set(source.users) <= {norm, add}:
                return norm, other
    return None


def _is_call(node: fx.Node, targets: set[Any]) -> bool:
    return node.op in ("call_function", "call_method") and node.target in targets


def _is_relu(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    if node.op == "call_module":
        module = modules[str(node.target)]
        return type(module) is nn.ReLU and not _has_hooks(module) and len(node.args) == 1
    return _is_call(node, RELUS) and bool(node.args)


def _is_batch_norm(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    if node.op != "call_module" or node.kwargs or len(node.args) != 1:
        return False
    module = modules[str(node.target)]
    return isinstance(module, Hosted) and not _has_hooks(module)


def _has_hooks(module: nn.Module) -> bool:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(getattr(module, kind) for kind in kinds) or "forward" in vars(module)
