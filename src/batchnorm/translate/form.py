"""Which classes of a framework a call can name, and which parameters each takes.

A form is one class of one dialect with the parameters that its call takes. Not here: what a
parameter means (the dialects' annotations).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from batchnorm.declaration import Parameter
from batchnorm.errors import InvalidValue
from batchnorm.frameworks import Framework, known
from batchnorm.layer import Layer
from batchnorm.vocabulary import Meaning

__all__ = ["Form", "form", "form_of", "forms"]


@dataclass(frozen=True)
class Form:
    """One class of a dialect, as a call names it.

    Attributes:
        ranks: the ranks of input that it takes; empty for any.
        layer: our layer of the same behaviour on one process.
        lazy: whether it finds its number of channels by itself.
        synchronized: whether it is the class whose statistics are those of all processes.
    """

    dialect: Framework
    class_name: str
    layer: type[Layer]
    parameters: Mapping[str, Parameter]
    ranks: tuple[int, ...]
    lazy: bool = False
    synchronized: bool = False

    @property
    def names(self) -> dict[str, str]:
        """What the layer calls its state: role -> name."""
        return {entry.role: name for name, entry in self.layer.STATE.items()}


def forms(of: Framework) -> dict[str, Form]:
    """All classes of a dialect by name."""
    module = of.room("layers")
    classes = {
        name: getattr(module, name) for name in module.__all__ if name.startswith("BatchNorm")
    }
    found = {name: _plain(of, name, layer) for name, layer in classes.items()}
    if of.calls.lazy:
        for name in classes:
            plain = found[name]
            lazy = {key: p for key, p in plain.parameters.items() if key != "num_features"}
            lazy_name = f"Lazy{name}"
            found[lazy_name] = Form(of, lazy_name, plain.layer, lazy, plain.ranks, lazy=True)
    if of.calls.synchronized:
        base, (group, after) = found["BatchNorm2d"], of.calls.synchronized
        parameters: dict[str, Parameter] = {}
        for name, parameter in base.parameters.items():
            if name != "data_format":
                parameters[name] = parameter
            if name == after:
                meaning = Meaning("housekeeping")
                parameters[group] = Parameter(group, "positional or keyword", None, meaning)
        found["SyncBatchNorm"] = Form(
            of, "SyncBatchNorm", base.layer, parameters, (2, 3, 4, 5), synchronized=True
        )
    return found


def form(of: Framework, rank: int) -> Form:
    """The class of a dialect for inputs of a rank.

    Raises:
        ValueError: there is none.
    """
    for found in forms(of).values():
        if not found.ranks or rank in found.ranks:
            return found
    ranks = sorted({rank for found in forms(of).values() for rank in found.ranks})
    held = f"{ranks[0]} to {ranks[-1]}" if ranks[1:] else ranks[0]
    raise InvalidValue(
        f"{of.name} has batch norms for inputs of rank {held}, but the rank is {rank}"
    )


def form_of(layer: Layer) -> Form:
    """The form of a live layer of ours."""
    for framework in known():
        for found in forms(framework).values():
            if found.layer is type(layer):
                return found
    raise InvalidValue(f"{type(layer).__qualname__} is no layer of batchnorm's dialects")


def _plain(of: Framework, name: str, layer: type[Layer]) -> Form:
    parameters = {key: p for key, p in layer.PARAMETERS.items() if key not in of.absent}
    return Form(of, name, layer, parameters, tuple(getattr(layer, "RANKS", ())))
