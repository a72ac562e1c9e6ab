"""torch's process groups: how what each of several processes has found reaches all of them.

Nothing is imported here: who holds a group has imported torch. Not here: what is gathered.

Source: PyTorch 2.13.0, torch/distributed/distributed_c10d.py, all_gather_object.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

__all__ = ["ACCEPTED", "gathering"]

ACCEPTED = "a torch.distributed process group (such as torch.distributed.group.WORLD)"


def gathering(group: Any) -> Callable[[Any], list[Any]] | None:
    """What gathers an object from every process of a group; None for what is no group of torch."""
    distributed: Any = getattr(sys.modules.get("torch"), "distributed", None)
    if distributed is None or not isinstance(group, distributed.ProcessGroup):
        return None

    def gather(mine: Any) -> list[Any]:
        found: list[Any] = [None] * distributed.get_world_size(group)
        distributed.all_gather_object(found, mine, group=group)
        return found

    return gather
