"""What Keras calls `trainable`, for modules that follow its rule: a frozen layer infers.

torch freezes by `requires_grad`, so both count: a module is frozen that was told so, or whose
parameters all need no gradient. Not here: what follows from it, which is the dialect's rule.
"""

from __future__ import annotations

from torch import nn

__all__ = ["Freezing"]


class Freezing(nn.Module):
    """A module with a `trainable` of its own."""

    _trainable = True

    @property
    def trainable(self) -> bool:
        """Whether it was not frozen, and one of its parameters, if there are any, learns."""
        own = [p for p in self._parameters.values() if p is not None]
        return self._trainable and (not own or any(p.requires_grad for p in own))

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        for parameter in self._parameters.values():
            if parameter is not None:
                parameter.requires_grad_(bool(value))
