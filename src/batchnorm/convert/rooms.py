"""What the frameworks' rooms say of saved files (`saved`): by name, and which rooms say it."""

from __future__ import annotations

from functools import cache
from typing import Any

from batchnorm.frameworks import Framework, current, find

__all__ = ["rooms", "saved"]


@cache
def saved(framework: str) -> Any:
    """The `saved` of a framework's room."""
    return find(framework).room("saved")


@cache
def rooms() -> tuple[Framework, ...]:
    """The frameworks whose files can be converted and have names of their own."""
    return tuple(r for r in current() if r.has("saved") and not r.names_of)
