"""The order in which Keras takes a weights file that was written without a template.

Keras pairs a file's arrays with a model's layers by class and by the order in which the layers were
made (`.weights.h5`), or by the order of all layers (`.h5`), not by name: a model that makes two
layers of one shape the other way round takes the wrong arrays without an error. Measured with Keras
3.15 and tf_keras 2.21.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from batchnorm.convert.groups import Group
from batchnorm.convert.names import keras_class
from batchnorm.convert.signatures import signature

__all__ = ["order_written"]

BY_CLASS, BY_ORDER = "keras-weights", "keras-h5"
MOST = 8  # layers of a class that are named


def order_written(groups: Sequence[Group], format: str | None) -> str:
    """What to know of the order, and how to settle it; empty where Keras can't go wrong in silence.

    Args:
        groups: the layers, in the order in which they are written.
        format: the file's.
    """
    if format not in (BY_CLASS, BY_ORDER):
        return ""
    classes: dict[str, list[Group]] = {}
    for group in groups:
        name = keras_class(group) or "others" if format == BY_CLASS else "layers"
        classes.setdefault(name, []).append(group)
    if not any(_alike(layers) for layers in classes.values()):
        return ""
    orders = "; ".join(f"{name}: {_listed(layers)}" for name, layers in classes.items())
    how = "class and by order of creation" if format == BY_CLASS else "order"
    return (
        f"Keras pairs this file with a model's layers by {how}, not by name; it is written for the "
        f"order {orders}. Give the model's own file (--like), or say that its order is this one "
        "(--assume-order)"
    )


def _alike(layers: Sequence[Group]) -> bool:
    seen: set[Hashable] = set()
    for group in layers:
        sign = signature(group)
        if sign in seen:
            return True
        seen.add(sign)
    return False


def _listed(layers: Sequence[Group]) -> str:
    names = ", ".join(group.label for group in layers[:MOST])
    return names + (f" and {len(layers) - MOST} more" if len(layers) > MOST else "")
