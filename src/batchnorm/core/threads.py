"""How many threads the kernel uses: what the machine grants, a number given, or the environment's.

`BATCHNORM_NUM_THREADS=2` sets it when the package is imported. Not here: the threads themselves
(`src/kernel/threads.cpp`), which start when the first large array needs them.
"""

from __future__ import annotations

import operator
import os
from typing import Any

from batchnorm.core.kernel import IMPLEMENTATIONS
from batchnorm.errors import InvalidType, InvalidValue

__all__ = ["get_num_threads", "set_num_threads"]

MOST = 256  # MOST_THREADS of src/kernel/threads.cpp


def _compiled() -> Any:
    """The compiled kernel; None where only the reference, which uses one thread, can be chosen."""
    if set(IMPLEMENTATIONS) == {"reference"}:
        return None
    from batchnorm import _kernel

    return _kernel


def get_num_threads() -> int:
    """The most threads that one call uses, the caller's among them.

    At first as many as the process may use processors: the machine's, of these what its affinity
    allows, and of these what its cgroups' quota allows. Small arrays use the caller's thread alone.

    >>> get_num_threads() >= 1
    True
    """
    kernel = _compiled()
    return 1 if kernel is None else int(kernel.num_threads())


def set_num_threads(count: int) -> None:
    """Let calls use at most `count` threads, in all Python threads, from now on.

    Results have the same bits for any number. A forked child keeps the number.

    Args:
        count: at least 1; more than 256 count as 256.

    Raises:
        TypeError: count is no integer.
        ValueError: count is below 1.

    >>> before = get_num_threads()
    >>> set_num_threads(1)
    >>> get_num_threads()
    1
    >>> set_num_threads(before)
    """
    if isinstance(count, bool) or not hasattr(count, "__index__"):
        raise InvalidType(f"set_num_threads takes an int of at least 1, but got {count!r}")
    number = operator.index(count)
    if number < 1:
        raise InvalidValue(f"set_num_threads takes an int of at least 1, but got {count}")
    kernel = _compiled()
    if kernel is not None:
        kernel.set_num_threads(min(number, MOST))


def _from_environment(value: str | None) -> None:
    if value is None or not value.strip():
        return
    if not value.strip().isdecimal() or int(value) < 1:
        raise InvalidValue(
            f"BATCHNORM_NUM_THREADS must be a whole number of at least 1, but is {value!r}"
        )
    set_num_threads(int(value))


_from_environment(os.environ.get("BATCHNORM_NUM_THREADS"))
