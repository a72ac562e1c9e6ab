"""Replicas behind any engine that can gather an object from every process.

What is sent per synchronised call is four numbers per channel forward and two backward, as the
frameworks' own synchronised layers send them. Not here: any engine (`mpi.py`, `torch.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from batchnorm import core
from batchnorm.errors import InvalidRuntime, InvalidValue
from batchnorm.vocabulary import Array

__all__ = ["Gathered"]

THE_END = "the end"


class Gathered:
    """`core.Replicas` made of one function: an object of mine in, everybody's objects out.

    All processes add up and merge in the order of their ranks, so that all get the same bits.

    Args:
        gather: gives the list of what every process passed to it, in the order of ranks, the same
            list everywhere (mpi4py's `comm.allgather` is one).

    Raises:
        RuntimeError: the processes asked different things, as when one trains and one doesn't.
        ValueError: they hold different numbers of channels.

    >>> alone = Gathered(lambda mine: [mine])
    >>> alone.summed(np.array([1.0, 2.0]))
    array([1., 2.])
    """

    def __init__(self, gather: Callable[[Any], list[Any]]) -> None:
        self._gather = gather

    def merged(self, moments: core.Moments) -> core.Moments:
        """The moments of all parts together, by Chan's rule."""
        mine = np.array([moments.count, moments.mean, moments.residual, moments.m2])
        return reduce(core.merge, [core.Moments(*part) for part in self._all("moments", mine)])

    def summed(self, values: Array) -> Array:
        """The sum of every process's values."""
        return np.asarray(sum(self._all("sums", np.asarray(values, np.float64))))

    def part(self) -> None:
        """Let the others know that nothing more will come from here."""
        self._gather((THE_END, np.empty(0)))

    def _all(self, task: str, mine: Array) -> list[Array]:
        found = self._gather((task, mine))
        tasks, parts = [name for name, _ in found], [part for _, part in found]
        if THE_END in tasks:
            gone = [rank for rank, one in enumerate(tasks) if one == THE_END]
            raise InvalidRuntime(
                f"the processes of ranks {gone} have ended, but this one still asks for their "
                f"{task}. All of them must call the same synchronised layers equally often"
            )
        if set(tasks) != {task}:
            raise InvalidRuntime(
                f"the processes are at different steps, by rank: {tasks}. All of them must call "
                "the same synchronised layers in the same order, forward and backward"
            )
        shapes = [part.shape for part in parts]
        if set(shapes) != {mine.shape}:
            raise InvalidValue(
                f"the processes hold different numbers of channels: by rank, {task} of {shapes}"
            )
        return parts
