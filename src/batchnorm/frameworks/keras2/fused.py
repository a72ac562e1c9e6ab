"""When Keras 2 uses TensorFlow's fused kernel, which averages another variance than the rest.

Source: tf_keras 2.21.0, tf_keras/src/layers/normalization/batch_normalization.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from batchnorm.errors import InvalidIndex, InvalidValue

__all__ = ["at_construction", "at_rank"]


def at_construction(
    fused: bool | None,
    axis: int | Sequence[int],
    compute_dtype: str,
    synchronized: bool,
    rules_out: dict[str, Any],
) -> bool | None:
    """What is known before the rank is: True, False, or None for not yet.

    `rules_out` holds the settings that the kernel lacks; any but None and False rules it out.
    """
    if synchronized and fused:
        raise InvalidValue("fused=True is not supported when synchronized=True")
    axes = [axis] if isinstance(axis, int) else axis
    used = (f"{k}={v}" for k, v in rules_out.items() if v is not None and v is not False)
    reason = next(used, None)
    if not axes:
        raise InvalidIndex(f"'axis' must name at least one axis, but got {axis!r}")
    if len(axes) > 1 or axes[0] not in (-4, -3, -1, 1, 3, 4):
        reason = f"axis={axis}: it takes 1 or the last axis of rank 4 or 5"
    if compute_dtype not in ("float16", "bfloat16", "float32"):
        reason = f"compute dtype {compute_dtype}"
    if fused and reason:
        raise InvalidValue(f"fused=True is not supported with {reason}")
    return False if synchronized or (fused is None and reason) else fused


def at_rank(fused: bool | None, axes: list[int], rank: int) -> bool:
    """Whether it is used for inputs of this rank; `axes` are not negative."""
    if fused and rank not in (4, 5):
        raise InvalidValue(f"fused=True supports inputs of rank 4 or 5, but got rank {rank}")
    fused = rank in (4, 5) if fused is None else fused
    if fused and axes not in ([1], [rank - 1]):
        if rank == 4:
            raise InvalidValue(f"fused=True with rank 4 needs axis 1 or 3, got {axes}")
        return False
    return fused
