"""What the frameworks do by themselves, whatever the arguments: the theory that proofs rest on.

Four facts suffice to predict every difference of two equal calls. They are stated here once more,
independently of the dialects' code, so that a proof can fail; their evidence is the recorded
answers of the frameworks (`batchnorm.questions`).
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
    """The facts for one framework's arguments and inputs of a rank."""
    if of.framework == "torch":
        return Facts(1)
    if of.framework == "mindspore":
        # The CPU kernel writes its update of statistics that aren't float32 into a copy.
        moves = arguments["parameter_dtype"].value == "float32"
        return Facts(0 if of.name == "mindspore@2.0" else 1, statistics_move=moves)
    if of.framework == "keras":
        return Facts(0)
    fused = is_fused(arguments, rank)
    floor = 1.001e-5 if fused and of.name == "tf_keras@2.6" else 0.0
    return Facts(1 if fused else 0, rounds_factor=True, epsilon_floor=floor)


def is_fused(arguments: Canonical, rank: int) -> bool:
    """Whether Keras 2 takes its fused kernel."""

    def value(slot: str) -> object:
        return arguments[slot].value

    axis = value("channel_axis")
    axes = [axis] if isinstance(axis, int) else list(axis) if isinstance(axis, list | tuple) else []
    return (
        rank in (4, 5)
        and len(axes) == 1
        and axes[0] % rank in (1, rank - 1)
        and value("fused") is not False
        and value("compute_dtype") != "float64"
        and not (value("renorm") or value("synchronized"))
        and value("virtual_batch_size") is None
        and value("adjustment") is None
    )
