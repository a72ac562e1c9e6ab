"""Replicas: processes or devices that each hold a part of one batch, as the core asks them.

What a synchronised forward and backward need of the others is two questions, asked once a call
each, by all replicas in the same order. Not here: any engine that carries the numbers (`hosts/`).
"""

from __future__ import annotations

from typing import Protocol

from batchnorm.core.moments import Moments
from batchnorm.vocabulary import Array

__all__ = ["Replicas"]


class Replicas(Protocol):
    """All parts of one batch; every method is called by all of them, and gives all the same."""

    def merged(self, moments: Moments) -> Moments:
        """The moments of all parts together, merged exactly (`merge`), in one order everywhere."""

    def summed(self, values: Array) -> Array:
        """The sum of every replica's values, added up in one order everywhere."""
