"""Our own layers inside a framework (`hosts/`), which say themselves what they are."""

from __future__ import annotations

from typing import Any

__all__ = ["is_host"]


def is_host(obj: Any) -> bool:
    """Whether it gives its dialect's layer, with the present state, by `to_layer()`."""
    ours = any(cls.__module__.startswith("batchnorm.hosts") for cls in type(obj).__mro__)
    return ours and hasattr(type(obj), "to_layer")
