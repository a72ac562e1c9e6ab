"""In which types a framework computes: what bounds its distance from the exact result.

Data of a record; the defaults are float32 throughout, two passes for the variance. Not here: the
bounds themselves (`batchnorm.verify.tolerance`), and what our layers compute in.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Arithmetic"]


@dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """Where a framework rounds otherwise than in float32 after every operation.

    Attributes:
        keeps_input_type: whether it keeps batch mean and 1/std in the input's type, computes y
            from what it keeps, and sums the gradient of a 16-bit output in 16 bits.
        keeps_parameter_type: whether it keeps mean and 1/std in the parameters' float16.
        sums_in_double: whether it sums float32 in double, where channels are first in memory.
        casts_integers: whether integers are cast to the type that it computes in.
        one_pass: names of its backends whose variance is E[x²] - E[x]².
    """

    keeps_input_type: bool = False
    keeps_parameter_type: bool = False
    sums_in_double: bool = False
    casts_integers: bool = True
    one_pass: tuple[str, ...] = ()
