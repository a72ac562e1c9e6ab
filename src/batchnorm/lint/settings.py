"""What a run looks for: options, and the section [tool.batchnorm.lint] of pyproject.toml."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchnorm.errors import InvalidValue
from batchnorm.frameworks import find
from batchnorm.frameworks.names import did_you_mean
from batchnorm.lint.rule import Rule
from batchnorm.lint.rules import RULES
from batchnorm.toml import read_toml, short

__all__ = ["Settings", "from_pyproject", "rule"]

_KEYS = ("select", "ignore", "ported-from", "exclude")


@dataclass(frozen=True)
class Settings:
    """What a run looks for.

    Attributes:
        select: ids, or their beginnings, of the rules to run; empty for all.
        ignore: ids, or their beginnings, of rules to leave out; stronger than `select`.
        ported_from: the framework that the files are ported from, for BN003.
        exclude: regular expressions; paths in which one is found are left out.
    """

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    ported_from: str | None = None
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for code in (*self.select, *self.ignore):
            if not any(each.id.startswith(code) for each in RULES):
                raise InvalidValue(_unknown(code))
        if self.ported_from is not None:
            object.__setattr__(self, "ported_from", find(self.ported_from).name)
        for pattern in self.exclude:
            try:
                re.compile(pattern)
            except re.error as error:
                raise InvalidValue(
                    f"exclude {pattern!r} is no regular expression: {error}"
                ) from None

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules to run."""
        selected = (r for r in RULES if r.id.startswith(self.select or ("",)))
        return tuple(r for r in selected if not (self.ignore and r.id.startswith(self.ignore)))


def rule(code: str) -> Rule:
    """The rule of an id or a name.

    Raises:
        ValueError: there is none; the text says which there are.
    """
    for each in RULES:
        if code.upper() == each.id or code == each.name:
            return each
    raise InvalidValue(_unknown(code))


def _unknown(code: str) -> str:
    known = [each.id for each in RULES]
    return (
        f"there is no rule {code!r}{did_you_mean(code, known)}; expected one of {', '.join(known)}"
    )


def from_pyproject(start: Path) -> Mapping[str, Any]:
    """The section of the nearest pyproject.toml at or above a path, as arguments of `Settings`.

    Raises:
        ValueError: the file can't be read, or the section has what it can't have.
    """
    for folder in (start, *start.parents):
        path = folder / "pyproject.toml"
        if path.is_file():
            return _section(path)
    return {}


def _section(path: Path) -> dict[str, Any]:
    section: Any = read_toml(path, "pyproject.toml")
    for name in ("tool", "batchnorm", "lint"):
        section = section.get(name, {})
        if not isinstance(section, dict):
            raise InvalidValue(f"{path}: {name} must be a table, for [tool.batchnorm.lint]")
    found: dict[str, Any] = {}
    for key, value in section.items():
        if key not in _KEYS:
            raise InvalidValue(
                f"{path}: [tool.batchnorm.lint] has no {key!r}{did_you_mean(key, _KEYS)}; "
                f"expected {', '.join(_KEYS)}"
            )
        if key == "ported-from":
            good = isinstance(value, str)
        else:
            good = isinstance(value, list) and all(isinstance(each, str) for each in value)
        if not good:
            expected = "a framework's name" if key == "ported-from" else "a list of strings"
            raise InvalidValue(f"{path}: {key} must be {expected}, but is {short(value)}")
        found[key.replace("-", "_")] = value if key == "ported-from" else tuple(value)
    return found
