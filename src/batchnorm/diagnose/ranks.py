"""Recordings of the processes that share a batch: how many there are, and their moments together.

Not here: what a layer is found to do with them (`comparison.py`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from batchnorm import core
from batchnorm.diagnose.recording import Recording
from batchnorm.diagnose.trace import Statistics, Trace
from batchnorm.errors import InvalidValue

__all__ = ["missing", "rank_here", "together", "whole"]

VARIABLES = (
    ("RANK", "WORLD_SIZE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
    ("RANK_ID", "RANK_SIZE"),
)  # that the engines set


def rank_here() -> tuple[int, int]:
    """Which process of how many this one is, as the engine that started it has said."""
    for rank, size in VARIABLES:
        said = os.environ.get(rank, ""), os.environ.get(size, "")
        if all(text.isdecimal() for text in said) and int(said[0]) < int(said[1]):
            return int(said[0]), int(said[1])
    return 0, 1


def whole(given: Recording | Sequence[Recording]) -> list[Recording]:
    """One model's recordings by rank.

    Raises:
        ValueError: there is none, or some are not of one run.
    """
    found = sorted([given] if isinstance(given, Recording) else given, key=lambda r: r.rank)
    ranks = [r.rank for r in found]
    if not found or len(set(ranks)) < len(ranks) or len({size for _, size in ranks}) > 1:
        text = ", ".join(f"{rank} of {size}" for rank, size in ranks) or "none"
        raise InvalidValue(f"expected one recording of each process of one run, but got {text}")
    return found


def missing(recordings: Sequence[Recording]) -> list[int]:
    """The ranks of which there is no recording."""
    here = {r.rank[0] for r in recordings}
    return [rank for rank in range(recordings[0].rank[1]) if rank not in here]


def together(
    recordings: Sequence[Recording], name: str, phase: str, call: int
) -> Statistics | None:
    """The statistics of the channels over all processes; None where one of them lacks the call."""
    traces: list[Trace] = []
    for each in recordings:
        node = next((n for n in each.nodes if n.name == name), None)
        calls = [] if node is None else node.calls.get(phase, [])
        if len(calls) <= call or 1 not in calls[call].statistics:
            return None
        traces.append(calls[call])
    parts = [trace.statistics[1] for trace in traces]
    if len({part.mean.shape for part in parts}) > 1:
        return None
    moments = [
        core.Moments(np.full_like(p.mean, p.count), p.mean, np.zeros_like(p.mean), p.m2)
        for p in parts
    ]
    all_of = moments[0]
    for part in moments[1:]:
        all_of = core.merge(all_of, part)
    mean = all_of.mean + all_of.residual
    found = Statistics(
        sum(p.count for p in parts), mean, all_of.m2, np.max([p.peak for p in parts], 0)
    )
    rows = [(p.dy, p.mean) for p in parts if p.dy is not None]
    if len(rows) == len(parts):
        found.dy = np.array([
            sum(dy[0] for dy, _ in rows),
            sum(dy[1] + (own - mean) * dy[0] for dy, own in rows),
            sum(dy[2] for dy, _ in rows),
            np.max([dy[3] for dy, _ in rows], 0),
        ])  # fmt: skip
    return found
