"""Facets of a framework whose room doesn't bring them, made of its record and its declaration.

What a room's own facet needn't say has defaults here.

What a declaration can't tell is left out: other layers' names and kernels in files, functions,
attributes that come too late, values at the edge. Not here: facets that need the framework itself
(`live`, `running`, `groups`), which nothing can be made of.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchnorm.frameworks.framework import Framework

__all__ = ["DEFAULTS", "MADE", "completed", "made"]

ATTRIBUTES = {
    "num_features": "channels",
    "epsilon": "epsilon",
    "weight_of_batch": "momentum",
    "weight_of_running": "momentum",
    "affine": "affine",
    "tracking": "tracks",
    "forced_statistics": "forced_statistics",
}
SETTINGS: Mapping[str, tuple[Any, ...]] = {
    "epsilon": (1e-3, 0.1, 1e-6),
    "weight_of_batch": (0.0, 1.0, 0.3),
    "weight_of_running": (0.0, 1.0, 0.3),
    "affine": (False, True),
    "train_affine": (False, True),
    "has_gamma": (False, True),
    "has_beta": (False, True),
    "tracking": (False, True),
}
"""Meaning -> values that any framework takes."""


def _owns(path: str, said: str | None) -> bool:
    return True


DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "saved": {
        # Modules that hold one other and add a word to every name; they can stand anywhere.
        "WRAPPERS": (),
        "OUTER": (),  # attributes under which a trainer keeps its net: only before all names
        # Patterns of names at the top that are a trainer's: numbers, or a list of them.
        "COUNTERS": (),
        "OBSERVERS": (),  # patterns of a name's parts that only observers of a quantization have
        "OPTIMIZER": ("optimizer", "optimizer_weights", "metrics", "loss"),
        "SLOTS": (),  # what optimizers call their copies: a parameter's name with this in front
        # Classes with a batch norm's arrays that are none: their counter stays 0.
        "COUNTLESS": (),
        "FORMATS": (),  # of files that hold these names
        "CHANNELS_LAST": False,  # whether kernels have their outputs last
        "CUMULATIVE": False,  # whether momentum None is the average over all batches
        "PAIRED": False,  # whether gamma and beta are there both or neither
        "SCALARS": False,  # whether arrays of shape () at the top are a trainer's numbers
        "WIDE": False,  # whether kernels of one-dimensional convolutions have a height of 1
        "ALONE": frozenset(),  # names of a layer that is saved alone, which only these files have
        "BARE": {},  # other names, of a layer that is saved alone
        "FORMS": {},  # what a class says of its kernel; where a file or a live model tells it
        "INNER": "",  # the layer inside a batch norm that holds its state
        "KEPT": (),  # roles that a file always has
        "SEPARATOR": ".",  # between a layer's name and its array's
    },
    "source": {
        "BASES": (),  # what several of the layers' classes derive from
        # The function of the layers: path, parameters, whether gamma and beta must be given.
        "FUNCTION": ("", (), False),
        "FUNCTIONS": {},  # paths of batch norms that no plan covers -> what is to be done
        "FROZEN": "",  # the arguments of a layer that keeps its statistics and parameters
        "NORMS": {},  # layers that stand in for one -> the names that they have of `ROLES`
        # Role that no attribute says -> what says it, and what is to be seen to.
        "DERIVED": {},
        "NETS": (),  # how the paths of its layers and nets begin
        "HOLDER": "",  # the package that has it as `keras`
        "SECOND_NAME": "",  # what users call its package where its own name is taken
        "INNER": {},  # class -> the attribute of a layer inside that holds its state
        "IGNORED": (),  # what changes nothing when it is set on a finished layer
        "INFERENCE": "",  # the method that sets the mode for inference and takes nothing
        "DATA_FORMAT": "",  # the default of a layer's own data format
        "owns": _owns,  # whether a path is this framework's, if two share a package
    },
    "samples": {
        "INSIDE": {},  # class -> the attribute that holds the layer that does the work
        "UNFOLLOWED": "",  # kinds of state (dtype.kind) that it takes and our layer refuses
        "IS_PRINTED": False,  # whether repr is compared: some hold a counted name or an address
        "STATES": (),  # what a user may take from a layer by setting it to None
        "TOGETHER": (),  # several arguments together
    },
}
"""Facet -> what a room's facet needn't say, with what is then taken for it."""


def saved(record: Framework) -> dict[str, Any]:
    """Names of a batch norm's state alone; all other arrays are carried as torch lays them out."""
    entries = record.layer_class.STATE
    separator = re.split(r"{\w+}", record.calls.variable)[1]

    def doubt(layer: Any, channels_last: bool) -> str:
        kernel = layer.kind == "kernel"
        return f"how {record.title} lays a kernel out isn't known here" if kernel else ""

    return {
        "OPTIMIZER": (),
        "SEPARATOR": separator,
        "STATE": {name: entry.role for name, entry in entries.items()},
        "AFFINE": {e.role: n for n, e in entries.items() if e.role in ("gamma", "beta")},
        "KEPT": tuple(entry.role for entry in entries.values() if not entry.needs),
        "SIGNS": tuple(separator + n for n, e in entries.items() if e.role.startswith("running")),
        "kernel_leaf": lambda form: "weight",
        "doubt": doubt,
    }


def source(record: Framework) -> dict[str, Any]:
    """Paths of the layers, and attributes by what they mean."""
    layer, names = record.layer_class, _classes(record)
    places = "|".join(re.escape(place) for place in record.places)
    roles = {name: entry.role for name, entry in layer.STATE.items()}
    for name, parameter in layer.PARAMETERS.items():
        if parameter.meaning.word in ATTRIBUTES:
            roles[name] = ATTRIBUTES[parameter.meaning.word]
    package = record.real_package

    def inside(path: str, said: str | None) -> str | None:
        return path[len(package) :] if f"{path}.".startswith(f"{package}.") else None

    return {
        "CLASSES": names,
        "LAYER": re.compile(rf"(?:{places})\.(?P<name>{'|'.join(names)})"),
        "NETS": tuple(f"{place}." for place in record.places),
        "PACKAGES": (package,),
        "ROLES": roles,
        "inside": inside,
    }


def samples(record: Framework) -> dict[str, Any]:
    """Settings by what they mean, of every class in every rank."""
    layers, layer = record.room("layers"), record.layer_class
    ranks = ((name, getattr(getattr(layers, name), "RANKS", (4,))) for name in _classes(record))
    words = {name: parameter.meaning.word for name, parameter in layer.PARAMETERS.items()}
    settings = {name: SETTINGS[word] for name, word in words.items() if word in SETTINGS}
    return {
        "ATTRIBUTES": tuple(layer.PARAMETERS),
        "CHANGES": {n: v for n, v in settings.items() if isinstance(v[0], float)},
        "CLASSES": tuple((name, rank) for name, found in ranks for rank in found),
        "PARAMETERS": (None,),
        "SETTINGS": settings,
        "VALUES": {**dict.fromkeys(settings, (None, "x")), "foo": (1,)},
        "inputs": lambda parameters: ("float32",),
    }


def _classes(record: Framework) -> tuple[str, ...]:
    layers = record.room("layers")
    return tuple(name for name in layers.__all__ if hasattr(getattr(layers, name), "PARAMETERS"))


MADE: Mapping[str, Callable[[Framework], dict[str, Any]]] = {
    "saved": saved,
    "source": source,
    "samples": samples,
}


def made(record: Framework, facet: str) -> ModuleType:
    """A facet of `MADE` as a module."""
    module = ModuleType(record.module_of(facet), f"Made of {record.title}'s declaration.")
    vars(module).update(MADE[facet](record))
    return completed(module, facet)


@cache
def completed(module: ModuleType, facet: str) -> ModuleType:
    """A room's facet, with the defaults for what it doesn't say."""
    for name, value in DEFAULTS.get(facet, {}).items():
        if not hasattr(module, name):
            setattr(module, name, value)
    return module
