"""The ordered list of implementations, the NumPy reference last, and the choice among them.

`BATCHNORM_KERNEL=name` forces one: a level of the compiled kernel (v4 is AVX-512, v3 AVX2, v2 any
x86-64 since 2009, neon 64-bit ARM, plain any other processor) or `reference`. All take the same
arguments; callers never know which ran.
"""

from __future__ import annotations

import os
import warnings
from functools import wraps
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from batchnorm.core import reference
from batchnorm.errors import InvalidValue
from batchnorm.vocabulary import Array

__all__ = [
    "IMPLEMENTATIONS",
    "arranged",
    "check",
    "choose",
    "chosen",
    "chosen_name",
    "empty_like",
    "input_gradient",
    "normalize",
    "reduce",
    "reduce_gradient",
]

LEVELS = ("v4", "v3", "v2", "neon", "plain")


def _find() -> dict[str, Any]:
    """What runs on this processor, fastest first."""
    found: dict[str, Any] = {}
    if os.environ.get("BATCHNORM_KERNEL") != "reference":
        compiled = find_spec("batchnorm._kernel") is not None
        if not compiled:
            warnings.warn_explicit(  # of no line of code: one line says it all
                "batchnorm was installed without its compiled kernel (no C++ compiler was found "
                "then): NumPy computes, with the same results, slower. Install a compiler and "
                "batchnorm again, or set BATCHNORM_KERNEL=reference to hear no more of it",
                RuntimeWarning,
                "<batchnorm>",
                1,
            )
        for level in LEVELS if compiled else ():
            try:
                from batchnorm.core.compiled import Compiled
            except ImportError as error:
                raise ImportError(
                    f"the compiled kernel of batchnorm does not load here ({error}); install the "
                    "package with pip, or set BATCHNORM_KERNEL=reference to compute with NumPy"
                ) from error
            try:
                found[level] = Compiled(level)
            except ValueError:  # not a level of this processor
                continue
    found["reference"] = reference
    return found


IMPLEMENTATIONS: dict[str, Any] = _find()


def choose(name: str | None = None) -> Any:
    """The implementation called `name`, or the first of the list."""
    if name is None:
        return next(iter(IMPLEMENTATIONS.values()))
    if name not in IMPLEMENTATIONS:
        raise InvalidValue(
            f"BATCHNORM_KERNEL must be one of {sorted(IMPLEMENTATIONS)}, but got {name!r}"
        )
    return IMPLEMENTATIONS[name]


def _unlike(*_: Any) -> None:
    """What stands for a task that an implementation doesn't have."""


def check() -> None:
    """See that the implementation that `BATCHNORM_KERNEL` names is there.

    Raises:
        InvalidValue: it isn't; the same as computing anything raises. Importing does not, so that
            a command can say it in a line.
    """
    choose(WANTED)


class _Nothing:
    """What stands for an implementation that isn't there: each of its functions says so."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **named: choose(WANTED)


WANTED = os.environ.get("BATCHNORM_KERNEL") or None  # empty is as not set
chosen = choose(WANTED) if WANTED in (None, *IMPLEMENTATIONS) else _Nothing()
chosen_name = next((name for name, one in IMPLEMENTATIONS.items() if one is chosen), "none")
whole_forward = getattr(chosen, "forward", _unlike)
whole_infer = getattr(chosen, "infer", _unlike)
whole_backward = getattr(chosen, "backward", _unlike)
arranged = getattr(chosen, "arranged", _unlike)
_empty_like = getattr(chosen, "empty_like", None)


def empty_like(x: Array, contiguous: bool = False) -> Array:
    """An uninitialized array of x's shape and type, for a result.

    result.shape = x.shape,  result.dtype = x.dtype

    Large ones come from memory that earlier results gave back, at most 256 MiB of it kept: fresh
    pages would cost more than the arithmetic that fills them.

    Args:
        x: the array to be like; only its layout matters.
        contiguous: whether the axes lie in C's order, instead of x's.

    Shape: as x.
    Dtypes: any; that of x.

    >>> empty_like(np.zeros((2, 3), np.float32)).shape
    (2, 3)
    """
    if _empty_like is None:
        return np.empty_like(x, order="C" if contiguous else "K")
    return np.asarray(_empty_like(x, contiguous))


if TYPE_CHECKING:  # all have the reference's signatures
    from batchnorm.core.reference import input_gradient, normalize, reduce, reduce_gradient
else:

    def _worded(run: Any, like: Any) -> Any:
        @wraps(like)
        def function(*args: Any, **named: Any) -> Any:
            return run(*args, **named)

        return function

    def _half(name: str) -> Any:
        """A function of the chosen implementation, with the reference's words about it."""
        run = getattr(chosen, name)
        return run if chosen is reference else _worded(run, getattr(reference, name))

    reduce, normalize = _half("reduce"), _half("normalize")
    reduce_gradient, input_gradient = _half("reduce_gradient"), _half("input_gradient")
