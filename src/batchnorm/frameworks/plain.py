"""Facets of a framework whose room doesn't bring them, made of its record and its declaration.

What a declaration can't tell is left out: other layers' names and kernels in files, functions,
attributes that come too late, values at the edge. Not here: facets that need the framework itself
(`live`, `running`, `groups`), which nothing can be made of.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchnorm.frameworks.framework import Framework

__all__ = ["MADE", "made"]

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


def saved(record: Framework) -> dict[str, Any]:
    """Names of a batch norm's state alone; all other arrays are carried as torch lays them out."""
    entries = record.layer_class.STATE
    separator = re.split(r"{\w+}", record.calls.variable)[1]

    def doubt(layer: Any, channels_last: bool) -> str:
        kernel = layer.kind == "kernel"
        return f"how {record.title} lays a kernel out isn't known here" if kernel else ""

    return {
        **dict.fromkeys(("WRAPPERS", "OUTER", "COUNTERS", "OBSERVERS", "OPTIMIZER"), ()),
        **dict.fromkeys(("SLOTS", "COUNTLESS", "FORMATS"), ()),
        **dict.fromkeys(("CHANNELS_LAST", "CUMULATIVE", "PAIRED", "SCALARS", "WIDE"), False),
        "ALONE": frozenset(),
        "FORMS": {},
        "BARE": {},
        "INNER": "",
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
        **dict.fromkeys(("HOLDER", "SECOND_NAME", "INFERENCE", "DATA_FORMAT"), ""),
        **dict.fromkeys(("BASES", "FUNCTIONS", "IGNORED"), ()),
        "CLASSES": names,
        "LAYER": re.compile(rf"(?:{places})\.(?P<name>{'|'.join(names)})"),
        "NETS": tuple(f"{place}." for place in record.places),
        "PACKAGES": (package,),
        "ROLES": roles,
        "INNER": {},
        "inside": inside,
        "owns": lambda path, said: True,
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
        "INSIDE": {},
        "IS_PRINTED": False,
        "PARAMETERS": (None,),
        "SETTINGS": settings,
        "STATES": (),
        "TOGETHER": (),
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
    return module
