"""The canonical form of arguments: what any dialect's call is read into and written from.

A slot is a thing that can be said about a batch norm, under the core's name; its argument is a
value and a source text at once. Not here: how a parameter is read into slots (`reading`) and a
parameter written from them (`writing`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from batchnorm.frameworks.keras.initializers import Ones, Zeros
from batchnorm.translate.argument import Argument

__all__ = ["NEUTRAL", "SLOTS", "Canonical", "neutral"]

Canonical: TypeAlias = dict[str, Argument]


def _default(text: str, value: object) -> Argument:
    return Argument(text, value, written=False)


_NONE, _FALSE, _TRUE = _default("None", None), _default("False", False), _default("True", True)
_FLOAT32 = _default('"float32"', "float32")

NEUTRAL: Mapping[str, Argument] = {
    "num_features": _NONE,
    "epsilon": _default("1e-05", 1e-5),
    # The weight of the new batch; None is the cumulative average.
    "exponential_average_factor": _default("0.1", 0.1),
    "has_gamma": _TRUE,
    "has_beta": _TRUE,
    # Whether an optimizer gets gamma and beta.
    "trained": _TRUE,
    # Whether running statistics are kept.
    "tracks": _TRUE,
    # True: batch statistics always; False: running ones always; None: by mode.
    "forced_statistics": _NONE,
    "channel_axis": _default("1", 1),
    "init of gamma": _default('"ones"', Ones()),
    "init of beta": _default('"zeros"', Zeros()),
    "init of running_mean": _default('"zeros"', Zeros()),
    "init of running_var": _default('"ones"', Ones()),
    "regularizer of gamma": _NONE,
    "regularizer of beta": _NONE,
    "constraint of gamma": _NONE,
    "constraint of beta": _NONE,
    "parameter_dtype": _FLOAT32,
    "compute_dtype": _FLOAT32,
    "device": _NONE,
    "name": _NONE,
    "renorm": _FALSE,
    "renorm_clipping": _NONE,
    "renorm_factor": _default("0.01", 0.01),
    "fused": _NONE,
    "virtual_batch_size": _NONE,
    "adjustment": _NONE,
    "synchronized": _FALSE,
    "initial_weights": _NONE,
}
"""Every slot, with what holds where a dialect has no parameter that says otherwise.

Beside them, parameters that say nothing about the computation have a slot by their name each, such
as "hint input_shape" and "option autocast".
"""

SLOTS = tuple(NEUTRAL)


def neutral() -> Canonical:
    """A new canonical form in which nothing is said."""
    return dict(NEUTRAL)
