"""The proof of a translation on the installed frameworks themselves, each in its own process."""

from __future__ import annotations

from batchnorm.errors import InvalidValue
from batchnorm.translate.plan import Plan
from batchnorm.translate.proof import Proof, prove
from batchnorm.verify.oracle import Oracle

__all__ = ["arithmetic_of", "prove_on_frameworks"]


def arithmetic_of(plan: Plan) -> float:
    """The unit roundoff in which the frameworks compute: float32, or float64 if both layers are."""
    sides = (plan.source.canonical, plan.target.canonical)
    wide = all(side["parameter_dtype"].value == "float64" for side in sides)
    return 2.0**-53 if wide else 2.0**-24


def prove_on_frameworks(plan: Plan) -> Proof:
    """Run both sides of a plan on the real frameworks and compare them, as `prove` does.

    Raises:
        ValueError: a side is a version that can't be installed beside the rest.
        batchnorm.verify.oracle.OracleError: a framework isn't installed, or its process crashed.
    """
    sides = (plan.source.form.dialect, plan.target.form.dialect)
    for side in sides:
        if "@" in side.name:
            raise InvalidValue(
                f"{side.name} can't be run here: its behaviour is recorded; leave --real out"
            )
    with Oracle(sides[0].framework) as first:
        if sides[0].framework == sides[1].framework:
            return prove(plan, (first, first), arithmetic=arithmetic_of(plan))
        with Oracle(sides[1].framework) as second:
            return prove(plan, (first, second), arithmetic=arithmetic_of(plan))
