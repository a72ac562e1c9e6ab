"""Signatures compared: names, order, kinds and defaults, and what `**kwargs` takes.

What a `**kwargs` takes no signature says: there each name that any dialect has is tried on the
real layer and on ours, and both must take it or both refuse it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from batchnorm.frameworks import Framework, find
from batchnorm.questions.question import ASKED
from batchnorm.questions.subject import Parameter, Raised, Subject
from batchnorm.verify.compare import Disagreement

__all__ = ["classes", "signatures"]

# Values that a keyword takes where it is taken at all; None for the rest.
VALUES: dict[str, Any] = {
    "name": "bn",
    "dtype": "float32",
    "trainable": True,
    "renorm_momentum": 0.99,
    "dynamic": False,
    "axis": -1,
    "momentum": 0.9,
    "epsilon": 1e-3,
    "eps": 1e-3,
    "num_features": 3,
    "input_shape": (2, 3),
    "batch_input_shape": (1, 2, 3),
    "beta_initializer": "zeros",
    "gamma_initializer": "ones",
    "moving_mean_initializer": "zeros",
    "moving_variance_initializer": "ones",
}
ALSO = ("foo", "weights", "dynamic", "batch_size", "input_spec", "training", "mask", "dtype_policy")


def classes(record: Framework) -> list[str]:
    """The classes that a framework declares."""
    names = record.room("layers").__all__
    return [name for name in names if name.startswith("BatchNorm")]


def signatures(theirs: Subject, ours: Subject) -> Iterator[tuple[str, Disagreement | None]]:
    """Compare every class's constructor, call and keywords: (what, the disagreement if any)."""
    record = find(theirs.dialect)
    for class_name in classes(record):
        for method in ("__init__", "call"):
            real, own = (s.signature(class_name, method) for s in (theirs, ours))
            for name in dict.fromkeys(p.name for p in (*real, *own)):
                where = f"{class_name}.{method} {name}"
                yield where, _compare(where, name, real, own)
        if record.is_keras:
            for name in _keywords():
                where = f"{class_name}(**kwargs) {name}"
                taken, own_taken = (_takes(s, class_name, name) for s in (theirs, ours))
                same = taken == own_taken
                yield where, None if same else Disagreement(where, taken, own_taken)


def _compare(
    where: str, name: str, real: list[Parameter], own: list[Parameter]
) -> Disagreement | None:
    a, b = (_describe(name, signature) for signature in (real, own))
    return None if a == b else Disagreement(where, a, b)


def _describe(name: str, signature: list[Parameter]) -> str:
    for position, parameter in enumerate(signature):
        if parameter.name == name:
            default = "" if parameter.default is None else f", default {parameter.default}"
            return f"number {position + 1}, {parameter.kind}{default}"
    return "no such parameter"


def _keywords() -> list[str]:
    """Give every parameter's name in any dialect, and a few more."""
    names = set(ALSO)
    for record in ASKED:
        names |= set(record.layer_class.PARAMETERS)
    return sorted(names)


def _takes(subject: Subject, class_name: str, name: str) -> str:
    try:
        subject.layer(class_name, **{name: VALUES.get(name)})
    except Raised as raised:
        return f"refused with {raised.bases[0]}"
    return "taken"
