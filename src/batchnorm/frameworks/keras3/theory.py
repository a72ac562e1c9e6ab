"""What Keras 3 does by itself, for proofs: a second statement, written from the recorded answers.

Source: `questions/answers/keras@3.15.1.json`, running-variance-denominator.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["facts"]


def facts(version: str, values: Mapping[str, Any], rank: int) -> dict[str, Any]:
    """The facts for one call's canonical arguments and inputs of a rank."""
    return {"correction": 0}
