"""epsilon and momentum of a checkpoint's layers, which most files don't hold: where they come from.

In this order: what the user says (`--settings`), what an earlier conversion wrote into the file,
the layer's Keras config. A momentum is kept as it was given, with the word that says of what it is
the weight, so that a way and back loses nothing; the other convention's number is taken in decimal
(1 - 0.9 is 0.1).
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from batchnorm.convert.groups import Group
from batchnorm.convert.rooms import saved
from batchnorm.errors import InvalidValue
from batchnorm.frameworks import find
from batchnorm.layer import Layer
from batchnorm.toml import read_toml, short

__all__ = ["Settings", "defaults", "known_settings", "read_settings", "settings_of"]

NONE = "none"
HUGE = 1 << 1000  # beyond any setting, and within what a float holds
OF_BATCH, OF_RUNNING = "weight_of_batch", "weight_of_running"


@dataclass(frozen=True)
class Settings:
    """What a batch-norm layer's arrays don't say.

    Attributes:
        epsilon: the stabiliser; None if unknown.
        momentum: as it was given; None if unknown, or torch's None if `of` is said.
        of: of what momentum is the weight: `weight_of_batch` or `weight_of_running`; empty if
            momentum is unknown.
    """

    epsilon: float | None = None
    momentum: float | None = None
    of: str = ""

    @classmethod
    def of_layer(cls, layer: Layer) -> Settings:
        """A layer's settings as they are now."""
        record = find(layer.FRAMEWORK)
        if record.has("live"):
            return cls.from_json(record.room("live").settings_of(layer))
        names = {p.meaning.word: n for n, p in type(layer).PARAMETERS.items()}
        of = OF_BATCH if OF_BATCH in names else OF_RUNNING
        return cls(getattr(layer, names["epsilon"]), getattr(layer, names[of]), of)

    def words(self, framework: str) -> dict[str, float | None]:
        """Constructor arguments that say the same in a framework.

        >>> Settings(1e-3, 0.9, "weight_of_running").words("torch")
        {'eps': 0.001, 'momentum': 0.1}
        """
        found: dict[str, float | None] = {}
        for name, parameter in _layer(framework).PARAMETERS.items():
            word = parameter.meaning.word
            if word == "epsilon" and self.epsilon is not None:
                found[name] = self.epsilon
            elif word in (OF_BATCH, OF_RUNNING) and self.of:
                found[name] = self.momentum if word == self.of else _complement(self.momentum)
        return found

    def over(self, other: Settings) -> Settings:
        """These settings, and the other's where these don't know."""
        epsilon = other.epsilon if self.epsilon is None else self.epsilon
        momentum = (self if self.of else other).momentum
        return Settings(epsilon, momentum, self.of or other.of)

    def as_json(self) -> dict[str, float | None]:
        """What goes into a file's metadata."""
        found: dict[str, float | None] = {}
        if self.epsilon is not None:
            found["epsilon"] = self.epsilon
        if self.of:
            found[self.of] = self.momentum
        return found

    @classmethod
    def from_json(cls, given: Any) -> Settings:
        """What `as_json` wrote; whatever else stands there is taken for nothing."""
        if not isinstance(given, Mapping):
            return cls()
        of = next((word for word in (OF_BATCH, OF_RUNNING) if word in given), "")
        return cls(_number(given.get("epsilon")), _number(given.get(of)), of)


def _layer(framework: str) -> type[Layer]:
    record = find(framework)
    found: type[Layer] = getattr(record.room("layers"), record.class_name)
    return found


def _number(value: Any) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < HUGE:
        return None  # NaN is no number either
    return float(value)


def _complement(momentum: float | None) -> float | None:
    return None if momentum is None else float(1 - Decimal(repr(float(momentum))))


def defaults(framework: str) -> Settings:
    """What a layer has whose constructor was not told otherwise."""
    values = {p.meaning.word: p.default for p in _layer(framework).PARAMETERS.values()}
    of = OF_BATCH if OF_BATCH in values else OF_RUNNING
    return Settings(values["epsilon"], values[of], of)


def known_settings(group: Group, ours: Mapping[str, Any], said: Mapping[str, Settings]) -> Settings:
    """What is known of a layer's settings."""
    recorded = ours.get("settings")
    written = recorded.get(group.path) if isinstance(recorded, Mapping) else None
    config = group.facts.get("config")
    found = settings_of(config, group.framework) if isinstance(config, Mapping) else Settings()
    told = said.get(group.path, Settings()).over(said.get("default", Settings()))
    return told.over(Settings.from_json(written)).over(found)


def settings_of(arguments: Mapping[str, Any], framework: str) -> Settings:
    """Settings from a framework's own words, such as `{"eps": 1e-3, "momentum": 0.01}`."""
    epsilon, momentum, of = None, None, ""
    for name, parameter in _layer(framework).PARAMETERS.items():
        if name not in arguments:
            continue
        word, value = parameter.meaning.word, arguments[name]
        if word == "epsilon":
            epsilon = _number(value)
        elif word in (OF_BATCH, OF_RUNNING):
            momentum, of = _number(value), word
    return Settings(epsilon, momentum, of)


def read_settings(
    given: str | os.PathLike[str] | Mapping[str, Any] | None, framework: str
) -> dict[str, Settings]:
    """Settings by layer, in the source framework's own words; `default` is for all others.

    Args:
        given: a mapping, a TOML file of tables by layer, or a text such as "eps=1e-3,momentum=0.01"
            for all layers.
        framework: the source's.

    Raises:
        CheckpointError: it can't be read as that, or a word is unknown to the framework.
    """
    if given is None:
        return {}
    content: Mapping[str, Any]
    if isinstance(given, Mapping):
        content = given
    elif isinstance(given, str) and ("=" in given or not os.path.lexists(given)):
        content = _each_once([_pair(part) for part in given.split(",")])
    else:
        content = read_toml(given, "settings")
    plain = {name: value for name, value in content.items() if not isinstance(value, Mapping)}
    tables = {name: value for name, value in content.items() if isinstance(value, Mapping)}
    if plain:
        tables["default"] = _each_once([*tables.get("default", {}).items(), *plain.items()])
    return {layer: _checked(layer, table, framework) for layer, table in tables.items()}


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The pairs as a table; the second of a name would be without effect."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidValue(f"settings: {twice!r} is said twice")
    return found


def _pair(part: str) -> tuple[str, float | str]:
    name, _, value = part.partition("=")
    if value.strip().lower() == NONE:
        return name.strip(), NONE
    try:
        return name.strip(), float(value)
    except ValueError:
        raise InvalidValue(
            f"--settings {part!r}: expected name=number, such as eps=1e-3, or a TOML file that is "
            "there"
        ) from None


def _checked(layer: str, table: Mapping[str, Any], framework: str) -> Settings:
    words = {
        name
        for name, p in _layer(framework).PARAMETERS.items()
        if p.meaning.word in ("epsilon", OF_BATCH, OF_RUNNING)
    }
    plain = dict(table)
    said = plain.get("momentum")
    if saved(framework).CUMULATIVE and isinstance(said, str) and said.lower() == NONE:
        plain["momentum"] = None  # torch's average over all batches
    for name, value in table.items():
        if name not in words or (plain[name] is not None and not _usable(value)):
            raise InvalidValue(
                f"settings of {layer!r}: {name} = {short(value)}; expected numbers from 0 for "
                f"{' and '.join(sorted(words))}, which are {framework}'s words"
            )
    return settings_of(plain, framework)


def _usable(value: Any) -> bool:
    number = _number(value)
    return number is not None and 0 <= number < math.inf
