"""A dialect's class read as its declaration: what each constructor parameter is called and means.

The signature gives names, order, kinds and defaults; the annotations give the meanings. The check
runs when the class is created: a parameter without exactly one meaning is an error right there.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin

from batchnorm.newer_python import NotRequired, Required, get_type_hints
from batchnorm.vocabulary import Meaning

__all__ = ["REQUIRED", "Parameter", "read"]

REQUIRED = inspect.Parameter.empty


@dataclass(frozen=True)
class Parameter:
    """One constructor parameter: its name, kind, default (`REQUIRED` if none) and meaning."""

    name: str
    kind: str  # "positional or keyword", "keyword-only", or "in **kwargs"
    default: Any
    meaning: Meaning

    @property
    def required(self) -> bool:
        """Whether a call must give it."""
        return self.default is REQUIRED


def read(layer: type[Any]) -> Mapping[str, Parameter]:
    """The parameters of a layer class, in order; those of a `**kwargs: Unpack[...]` come last.

    Raises:
        TypeError: a parameter carries no meaning of the vocabulary, or more than one.
    """
    hints = get_type_hints(layer.__init__, include_extras=True)
    found: dict[str, Parameter] = {}
    for name, parameter in list(inspect.signature(layer.__init__).parameters.items())[1:]:
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            (options,) = get_args(hints[name])
            defaults: Mapping[str, Any] = getattr(layer, "KWARGS_DEFAULTS", {})
            for key, hint in get_type_hints(options, include_extras=True).items():
                meaning = _meaning(layer, key, hint)
                found[key] = Parameter(key, "in **kwargs", defaults.get(key), meaning)
            continue
        keyword_only = parameter.kind is inspect.Parameter.KEYWORD_ONLY
        kind = "keyword-only" if keyword_only else "positional or keyword"
        meaning = _meaning(layer, name, hints.get(name))
        found[name] = Parameter(name, kind, parameter.default, meaning)
    return found


def _meaning(layer: type[Any], name: str, hint: Any) -> Meaning:
    if get_origin(hint) in (NotRequired, Required):
        (hint,) = get_args(hint)
    marks = [m for m in get_args(hint)[1:] if isinstance(m, Meaning)]
    if get_origin(hint) is not Annotated or len(marks) != 1:
        raise TypeError(
            f"{layer.__module__}.{layer.__qualname__}: parameter {name!r} is annotated {hint!r}, "
            f"which carries {len(marks)} meanings of batchnorm.vocabulary; expected exactly one"
        )
    return marks[0]
