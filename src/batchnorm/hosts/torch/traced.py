"""Our modules in what torch.fx and torch.jit make of a model.

Not here: torch.compile, which sees our registered operators (`operators.py`).
"""

from __future__ import annotations

from typing import Any

from torch import fx, nn

from batchnorm.errors import InvalidType

__all__ = ["as_leaf", "as_torchs_own"]


def as_leaf(module: nn.Module, *inputs: Any) -> Any:
    """The call of a module in a graph, as torch's own batch norms are in one."""
    proxy: fx.Proxy = inputs[0]
    tracer: Any = proxy.tracer
    return tracer.create_proxy("call_module", tracer.path_of_module(module), inputs, {})


def as_torchs_own(module: Any, kind: type[nn.Module]) -> nn.Module:
    """The module as torch's own class, which has the same tensors.

    Raises:
        TypeError: it follows another dialect's rule, which torch's class can't.
    """
    if module.semantics != "torch":
        raise InvalidType(
            f"torch.jit.script can't compile a batch norm with semantics={module.semantics!r}: "
            "torch.jit.trace or torch.export take it, or batchnorm.hosts.torch.restore first"
        )
    own: nn.Module = object.__new__(kind)
    vars(own).update(vars(module))
    for name in ("semantics", "_trainable"):
        vars(own).pop(name, None)
    return own
