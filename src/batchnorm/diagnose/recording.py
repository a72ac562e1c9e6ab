"""A model's run as it is kept: its layers in order of execution, each with its calls by phase.

Two recordings are all that a diagnosis looks at, whether they were made a moment ago in one process
or read from files. Not here: how one is made (`recorder.py`) or saved (`files.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from batchnorm.diagnose.trace import Trace
from batchnorm.vocabulary import Array

__all__ = ["INFERENCE", "TRAINING", "Node", "Recording", "Rule"]

INFERENCE = "inference"
TRAINING = "training"


@dataclass(frozen=True)
class Rule:
    """What a batch norm's own settings say that it computes in a phase.

    Args:
        batch: whether batch statistics normalize.
        updates: whether running statistics move.
        epsilon: added to the variance.
        factor: weight of the new batch.
        correction: c in the n - c that divides what enters the running variance.
        axis: of the channels, where those of the model are axis 1.
        beyond: what of the batch's statistics a replay has no means for: renorm, ghost batches, a
            mask; "" for none.
    """

    batch: bool
    updates: bool
    epsilon: float
    factor: float
    correction: int
    axis: int
    beyond: str = ""


@dataclass
class Node:
    """A layer that was watched.

    Args:
        name: its path in the model.
        kind: batch_norm, convolution, transposed, dense or other.
        dialect: of a batch norm, where it can be read.
        class_name: of its class.
        arguments: its settings as constructor arguments, plain values only.
        unread: why a batch norm's settings can't be read.
        standing: whether it is in training as it stands; None where calls say so.
        rules: by phase.
        facts: of a convolution or dense layer: strides, padding, dilation, groups; of a batch norm,
            whether it is synchronized over processes.
        kernel: its kernel as (out, in, ...), of a large one the first, middle and last outputs.
        rows: which outputs these are; None for all.
        sums: of the kernel per output: sum and sum of squares, two rows.
        bias: its bias.
        one_pass: whether its variance loses digits.
        calls: by phase, in order.
    """

    name: str
    kind: str
    dialect: str | None = None
    class_name: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    unread: str = ""
    standing: bool | None = None
    rules: dict[str, Rule] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    kernel: Array | None = None
    rows: Array | None = None
    sums: Array | None = None
    bias: Array | None = None
    one_pass: bool = False
    calls: dict[str, list[Trace]] = field(default_factory=dict)

    def call(self, phase: str) -> Trace | None:
        """The first call of a phase; None where it wasn't called."""
        found = self.calls.get(phase)
        return found[0] if found else None


@dataclass
class Recording:
    """One model's run.

    Args:
        framework: whose model it is.
        nodes: its watched layers, in order of execution; those never called last.
        batch: values of the batch at `places`, by name; the shape before them.
        outputs: values of the outputs.
        phases: in order: inference, training, and further steps.
        dropped: what was left out, in words.
        rank: which of how many processes it is, where there are several.
        chance: the phases in which random numbers were drawn, though dropout was off.
    """

    framework: str
    nodes: list[Node] = field(default_factory=list)
    batch: list[Trace] = field(default_factory=list)
    outputs: list[Array] = field(default_factory=list)
    phases: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    rank: tuple[int, int] = (0, 1)
    chance: list[str] = field(default_factory=list)

    def node(self, name: str) -> Node:
        """A layer by its path."""
        return next(node for node in self.nodes if node.name == name)

    @property
    def norms(self) -> list[Node]:
        """The batch norms that were called."""
        return [node for node in self.nodes if node.kind == "batch_norm" and node.calls]
