"""What mint's kernel does by itself, for proofs: read, not measured, as it runs on Ascend only.

Source: MindSpore 2.10.0, mindspore/mint/nn/layer/normalization.py, which is adapted from torch's
modules/batchnorm.py, and ops.batch_norm_ext, whose running variance is torch's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["facts"]


def facts(version: str, values: Mapping[str, Any], rank: int) -> dict[str, Any]:
    """The facts for one call's canonical arguments and inputs of a rank."""
    return {"correction": 1}
