"""Our modules in what torch.fx makes of a model.

Not here: torch.compile, which sees our registered operators (`operators.py`).
"""

from __future__ import annotations

from typing import Any

from torch import fx, nn

__all__ = ["as_leaf"]


def as_leaf(module: nn.Module, *inputs: Any) -> Any:
    """The call of a module in a graph, as torch's own batch norms are in one."""
    proxy: fx.Proxy = inputs[0]
    tracer: Any = proxy.tracer
    return tracer.create_proxy("call_module", tracer.path_of_module(module), inputs, {})
