"""Our own layers inside a framework (`hosts/`), which say themselves what they are."""

from __future__ import annotations

from typing import Any

__all__ = ["is_host"]


def is_host(obj: Any) -> bool:
    """Whether it gives its dialect's layer, with the present state, by `batchnorm_layer()`."""
    return hasattr(type(obj), "batchnorm_layer")
