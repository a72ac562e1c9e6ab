"""Who listens to a module's calls: what has hooks isn't joined with anything.

Not here: what would be joined (`fuse.py`, `derived.py`).
"""

from __future__ import annotations

from torch import nn
from torch.nn.modules import module as hooks

from batchnorm.hosts.torch.bound import is_bound

__all__ = ["has_hooks", "hooks_for_all"]


def has_hooks(module: nn.Module) -> bool:
    """Whether it has hooks, or a forward that somebody else gave it."""
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
