"""The ordered list of implementations, the NumPy reference last, and the choice among them.

`BATCHNORM_KERNEL=name` forces one. All take the same arguments; callers never know which ran.
"""

from __future__ import annotations

import os
from types import ModuleType
from typing import TYPE_CHECKING

from batchnorm.core import reference
from batchnorm.errors import InvalidValue

__all__ = ["IMPLEMENTATIONS", "choose", "input_gradient", "normalize", "reduce", "reduce_gradient"]

IMPLEMENTATIONS: dict[str, ModuleType] = {"reference": reference}


def choose(name: str | None = None) -> ModuleType:
    """The implementation called `name`, or the first of the list."""
    if name is None:
        return next(iter(IMPLEMENTATIONS.values()))
    if name not in IMPLEMENTATIONS:
        raise InvalidValue(
            f"BATCHNORM_KERNEL must be one of {sorted(IMPLEMENTATIONS)}, but got {name!r}"
        )
    return IMPLEMENTATIONS[name]


if TYPE_CHECKING:  # all have the reference's signatures
    from batchnorm.core.reference import input_gradient, normalize, reduce, reduce_gradient
else:
    _chosen = choose(os.environ.get("BATCHNORM_KERNEL"))
    reduce = _chosen.reduce
    normalize = _chosen.normalize
    reduce_gradient = _chosen.reduce_gradient
    input_gradient = _chosen.input_gradient
