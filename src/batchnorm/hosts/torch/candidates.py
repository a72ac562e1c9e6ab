"""A model's batch norms, and how each can be taken or why not: `candidates`.

Taken is what computes by torch's own forward, and what calls batch norm in a forward of its own,
which is tried on a copy. Not here: what is done with them (`accelerate.py`, `port.py`).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from batchnorm.errors import InvalidType
from batchnorm.frameworks.torch.calls import is_lazy, own_forward, tried
from batchnorm.hosts.torch.batchnorm import Forward
from batchnorm.hosts.torch.bound import Bound
from batchnorm.hosts.torch.derived import Activated, Inside

__all__ = ["Candidate", "candidates", "summary", "tell"]

MOST = 5
"""Layers named of one kind; the others are counted."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """One batch norm of a model.

    Args:
        path: where in the model.
        module: itself.
        forward: what computes it when taken; None where it can't be.
        why: why it can't.
    """

    path: str
    module: Any
    forward: type[Bound] | None
    why: str = ""

    @property
    def kind(self) -> str:
        """Its class's name."""
        return type(self.module).__qualname__


def candidates(model: Any) -> list[Candidate]:
    """All modules of torch's batch-norm classes and of classes derived from them.

    Raises:
        TypeError: `model` is no torch.nn.Module.
    """
    if not isinstance(model, nn.Module):
        kind = f"{type(model).__module__}.{type(model).__qualname__}"
        raise InvalidType(f"expected a torch.nn.Module, but got {kind}")
    return [
        _candidate(path, module)
        for path, module in model.named_modules()
        if isinstance(module, _BatchNorm)
    ]


def _candidate(path: str, module: Any) -> Candidate:
    own = vars(module).get("forward")
    if isinstance(own, Bound):
        return Candidate(path, module, type(own))
    if own is not None:
        kind = getattr(own, "__qualname__", type(own).__qualname__)
        return Candidate(path, module, None, f"its instance was given a forward, {kind}")
    if is_lazy(module):
        return Candidate(path, module, None, "it has no shape before its first call")
    if not own_forward(module):
        return Candidate(path, module, Forward)
    trial = tried(module)
    if not trial.calls:
        return Candidate(path, module, None, trial.why)
    then = trial.then_children and not isinstance(module, nn.SyncBatchNorm)
    return Candidate(path, module, Activated if then else Inside)


def summary(found: list[Candidate]) -> str:
    """One line: how many were taken, and which not and why."""
    left = [one for one in found if one.forward is None]
    text = f"{len(found) - len(left)} of {len(found)} batch norms taken"
    if not left:
        return text
    kinds: dict[tuple[str, str], list[str]] = {}
    for one in left:
        kinds.setdefault((one.kind, one.why), []).append(one.path or "the model itself")
    parts = []
    for (kind, why), paths in kinds.items():
        more = f" and {len(paths) - MOST} more" if len(paths) > MOST else ""
        parts.append(f"{', '.join(paths[:MOST])}{more} ({kind}): {why}")
    return f"{text}; not {'; not '.join(parts)}"


def tell(name: str, found: list[Candidate], verbose: bool) -> None:
    """The summary on stderr, if it is wanted."""
    if verbose:
        print(f"batchnorm {name}: {summary(found)}", file=sys.stderr)
