"""The state of one dialect's layer under another dialect's names: by role, never by order.

Not here: files (`batchnorm.checkpoints`), and layouts, which a batch norm's state doesn't have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from batchnorm.frameworks import find
from batchnorm.layer import Layer
from batchnorm.vocabulary import Array

__all__ = ["StateName", "carry", "names_side_by_side", "saved_names"]


@dataclass(frozen=True)
class StateName:
    """One state entry on both sides; a side that has no such entry has None.

    Attributes:
        role: what it is, in the core's words.
        source, target: the attribute names.
        source_saved, target_saved: the names in a file of a net whose attribute (Keras: whose
            layer) is called bn1, and of a bare layer.
    """

    role: str
    source: str | None
    target: str | None
    source_saved: tuple[str, ...]
    target_saved: tuple[str, ...]


def names_side_by_side(source: Layer, target: Layer) -> list[StateName]:
    """Every state entry of two layers that are built, in the source's order."""
    ours, theirs = _by_role(source), _by_role(target)
    roles = [*ours, *(role for role in theirs if role not in ours)]
    return [
        StateName(
            role,
            ours.get(role),
            theirs.get(role),
            saved_names(source, ours[role]) if role in ours else (),
            saved_names(target, theirs[role]) if role in theirs else (),
        )
        for role in roles
    ]


def saved_names(layer: Layer, name: str) -> tuple[str, ...]:
    """How files spell a state entry: inside a net as bn1 first, then of a bare layer if it differs.

    Keras names variables after the layer itself, so there is one spelling.
    """
    spelled = find(layer.FRAMEWORK).calls.variable
    inner = getattr(layer, "INNER", "")
    inside = spelled.format(layer="bn1", name=inner + name)
    if "/" in spelled:
        return (inside,)
    return inside, inner + name if inner else layer.STATE[name].bare_name or name


def carry(source: Layer, target: Layer) -> dict[str, Array]:
    """The target's whole state with the source's values; what the source lacks stays as it is."""
    ours, state = source.state, target.state
    values = {source.STATE[name].role: value for name, value in ours.items()}
    carried = {
        name: values[target.STATE[name].role].reshape(own.shape)
        if target.STATE[name].role in values
        else own
        for name, own in state.items()
    }
    target.load_state(carried)
    return carried


def _by_role(layer: Layer) -> Mapping[str, str]:
    return {layer.STATE[name].role: name for name in layer.state}
