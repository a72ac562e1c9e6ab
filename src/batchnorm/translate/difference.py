"""What can't be carried over: a difference, as a value with a reason and a size.

Not here: when there is one (`losses` for arguments, `facts` for what frameworks do by themselves).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["REFERENCES", "Difference", "Kind"]

Kind: TypeAlias = Literal["inexpressible", "predicted", "around"]


@dataclass(frozen=True)
class Difference:
    """One difference between a call and its translation.

    Attributes:
        key: a stable name.
        kind: "inexpressible": the other call can't say it. "predicted": both calls say the same,
            and the frameworks differ by a known amount. "around": the call is equal, but something
            around it (the data's layout, a file's names, the mode) is to be done differently.
        text: what differs and what that does.
        remedy: what to do about it; empty if nothing.
        size: how much it matters, as a relative change, where that can be computed.
        slots: which canonical arguments it excuses; the proof allows no others.
    """

    key: str
    kind: Kind
    text: str
    remedy: str = ""
    size: float | None = None
    slots: tuple[str, ...] = ()

    @property
    def reference(self) -> str | None:
        """The id of the question that explains it in the difference pages, if there is one."""
        return REFERENCES.get(self.key)


REFERENCES: Mapping[str, str] = {
    "adjustment": "adjustment",
    "batch-statistics-in-inference": "layer-without-statistics",
    "channel-axis": "default-channel-axis",
    "compute-dtype": "mixed-float16",
    "constraint": "regularizers-and-constraints",
    "cumulative-average": "momentum-of-none",
    "epsilon-clamp": "smallest-epsilon",
    "extra-parameter": "gamma-without-beta",
    "float16-statistics": "float16-statistics-move",
    "frozen-affine": "without-affine",
    "frozen-parameters": "frozen-layer",
    "initial-value": "initial-value-parameters",
    "layer-name": "names-in-weight-files",
    "mode": "mode-of-a-new-layer",
    "num-features": "number-of-channels",
    "parameter-dtype": "sixteen-bit-layer",
    "regularizer": "regularizers-and-constraints",
    "renorm": "running-variance-with-renorm",
    "running-statistics-in-training": "forced-running-statistics",
    "running-variance-denominator": "running-variance-denominator",
    "statistics-kept": "forced-batch-statistics",
    "synchronized": "replicas-with-synchronization",
    "virtual-batch-size": "virtual-batches",
}
"""Key of a difference -> id of the question (`batchnorm.questions`) that the pages explain."""
