"""Which dialects and classes a call can name, and how a call in each is spelled.

A form is one class of one dialect with the parameters that its call takes. Not here: what a
parameter means (the dialects' annotations).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from batchnorm.declaration import Parameter
from batchnorm.errors import InvalidValue
from batchnorm.frameworks import declaration_of
from batchnorm.layer import Layer
from batchnorm.vocabulary import Meaning

__all__ = ["DIALECTS", "Dialect", "Form", "dialect", "did_you_mean", "form", "form_of", "forms"]


@dataclass(frozen=True)
class Dialect:
    """A framework, in one version.

    Attributes:
        name: as users write it after --from and --to.
        framework: the dialect's own name.
        module: its name in `batchnorm`.
        prefix: what stands before the class in a call that we write.
        package: what stands before `initializers`, `regularizers` and `constraints`.
        absent: parameters that this version doesn't have yet, though the dialect declares them.
    """

    name: str
    framework: str
    module: str
    prefix: str
    package: str
    absent: frozenset[str] = frozenset()

    @property
    def is_keras(self) -> bool:
        """Whether one class serves all ranks and takes an axis."""
        return self.framework in ("keras", "tf_keras")


_TF_KERAS = ("tf.keras.layers.", "tf.keras")
DIALECTS: Mapping[str, Dialect] = {
    found.name: found
    for found in (
        Dialect("torch", "torch", "torch", "nn.", "torch"),
        Dialect("mindspore", "mindspore", "mindspore", "nn.", "mindspore"),
        Dialect("tf_keras", "tf_keras", "tf_keras", *_TF_KERAS),
        Dialect("keras", "keras", "keras", "keras.layers.", "keras"),
        # Both without a parameter that came later: measured, see the dialects' own files.
        Dialect(
            "mindspore@2.0", "mindspore", "mindspore_2_0", "nn.", "mindspore", frozenset({"dtype"})
        ),
        Dialect(
            "tf_keras@2.6", "tf_keras", "tf_keras_2_6", *_TF_KERAS, frozenset({"synchronized"})
        ),
    )
}
_ALIASES = {
    "torch@2.13": "torch",
    "mindspore@2.10": "mindspore",
    "tf_keras@2.21": "tf_keras",
    "tf_keras@2": "tf_keras",
    "keras@2": "tf_keras",
    "keras@2.6": "tf_keras@2.6",
    "keras@3": "keras",
    "keras@3.15": "keras",
}


@dataclass(frozen=True)
class Form:
    """One class of a dialect, as a call names it.

    Attributes:
        ranks: the ranks of input that it takes; empty for any.
        layer: our layer of the same behaviour on one process.
        lazy: whether it finds its number of channels by itself.
        synchronized: whether it is the class whose statistics are those of all processes.
    """

    dialect: Dialect
    class_name: str
    layer: type[Layer]
    parameters: Mapping[str, Parameter]
    ranks: tuple[int, ...]
    lazy: bool = False
    synchronized: bool = False


def dialect(name: str) -> Dialect:
    """The dialect that a name such as "mindspore" or "mindspore@2.0" stands for.

    Raises:
        ValueError: there is none; the text says which there are.
    """
    found = DIALECTS.get(_ALIASES.get(name, name))
    if found is None:
        known = [*DIALECTS, *_ALIASES]
        raise InvalidValue(
            f"unknown framework {name!r}{did_you_mean(name, known)}; expected one of "
            f"{', '.join(known)}"
        )
    return found


def forms(of: Dialect) -> dict[str, Form]:
    """All classes of a dialect by name."""
    module = declaration_of(of.module)
    classes = {
        name: getattr(module, name) for name in module.__all__ if name.startswith("BatchNorm")
    }
    found = {name: _plain(of, name, layer) for name, layer in classes.items()}
    if of.framework == "torch":
        for name in classes:
            plain = found[name]
            lazy = {key: p for key, p in plain.parameters.items() if key != "num_features"}
            lazy_name = f"Lazy{name}"
            found[lazy_name] = Form(of, lazy_name, plain.layer, lazy, plain.ranks, lazy=True)
    if not of.is_keras:
        base = found["BatchNorm2d"]
        after = "track_running_stats" if of.framework == "torch" else "use_batch_statistics"
        group = "process_group" if of.framework == "torch" else "process_groups"
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


def form(of: Dialect, rank: int) -> Form:
    """The class of a dialect for inputs of a rank.

    Raises:
        ValueError: there is none.
    """
    for found in forms(of).values():
        if not found.ranks or rank in found.ranks:
            return found
    raise InvalidValue(
        f"{of.name} has batch norms for inputs of rank 2 to 5, but the rank is {rank}"
    )


def form_of(layer: Layer) -> Form:
    """The form of a live layer of ours."""
    for known in DIALECTS.values():
        for found in forms(known).values():
            if found.layer is type(layer):
                return found
    raise InvalidValue(f"{type(layer).__qualname__} is no layer of batchnorm's dialects")


def did_you_mean(name: str, known: Any) -> str:
    """A hint at the nearest known name, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _plain(of: Dialect, name: str, layer: type[Layer]) -> Form:
    parameters = {key: p for key, p in layer.PARAMETERS.items() if key not in of.absent}
    return Form(of, name, layer, parameters, tuple(getattr(layer, "RANKS", ())))
