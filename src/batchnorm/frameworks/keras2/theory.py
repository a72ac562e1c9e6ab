"""What Keras 2 does by itself, for proofs: a second statement, written from recorded answers.

Source: `questions/answers/tf_keras@2.21.0.json` and `tf_keras@2.6.0.json`,
running-variance-denominator and smallest-epsilon.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["facts"]


def facts(version: str, values: Mapping[str, Any], rank: int) -> dict[str, Any]:
    """The facts for one call's canonical arguments and inputs of a rank."""
    fused = _is_fused(values, rank)
    return {
        "correction": 1 if fused else 0,
        "rounds_factor": True,
        "epsilon_floor": 1.001e-5 if fused and version.startswith("2.6.") else 0.0,
    }


def _is_fused(values: Mapping[str, Any], rank: int) -> bool:
    """Whether Keras 2 takes its fused kernel."""
    axis = values["channel_axis"]
    axes = [axis] if isinstance(axis, int) else list(axis) if isinstance(axis, list | tuple) else []
    return (
        rank in (4, 5)
        and len(axes) == 1
        and axes[0] % rank in (1, rank - 1)
        and values["fused"] is not False
        and values["compute_dtype"] != "float64"
        and not (values["renorm"] or values["synchronized"])
        and values["virtual_batch_size"] is None
        and values["adjustment"] is None
    )
