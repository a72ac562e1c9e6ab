"""What the frameworks do by themselves, whatever the arguments: the theory that proofs rest on.

Four facts suffice to predict every difference of two equal calls. Each framework's room states them
once more (`theory.py`), independently of its layers' code, so that a proof can fail; their evidence
is the recorded answers (`batchnorm.questions`).
"""

from __future__ import annotations

from dataclasses import dataclass

from batchnorm.frameworks import Framework
from batchnorm.translate.canonical import Canonical

__all__ = ["Facts", "facts"]


@dataclass(frozen=True)
class Facts:
    """How a framework computes with given arguments.

    Attributes:
        correction: c of the variance m2 / (n - c) that enters the running variance.
        rounds_factor: whether 1 - momentum is rounded to float32.
        epsilon_floor: the smallest epsilon that has an effect.
        statistics_move: whether the running statistics can be updated at all.
    """

    correction: int
    rounds_factor: bool = False
    epsilon_floor: float = 0.0
    statistics_move: bool = True


def facts(of: Framework, arguments: Canonical, rank: int) -> Facts:
    """The facts for one framework's arguments and inputs of a rank.

    Raises:
        NotImplementedError: its room states no theory.
    """
    values = {slot: argument.value for slot, argument in arguments.items()}
    return Facts(**of.room("theory").facts(of.version, values, rank))
