"""What MindSpore does by itself, for proofs: a second statement, written from recorded answers.

Source: `questions/answers/mindspore@2.10.0.json` and `mindspore@2.0.0.json`,
running-variance-denominator. The CPU kernel writes its update of statistics that aren't float32
into a copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["facts"]


def facts(version: str, values: Mapping[str, Any], rank: int) -> dict[str, Any]:
    """The facts for one call's canonical arguments and inputs of a rank."""
    return {
        "correction": 0 if version.startswith("2.0.") else 1,
        "statistics_move": values["parameter_dtype"] == "float32",
    }
