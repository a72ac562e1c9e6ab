"""What a run looks for: options, and the section [tool.batchnorm.lint] of pyproject.toml."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from batchnorm.errors import InvalidValue
from batchnorm.frameworks import find
from batchnorm.frameworks.names import did_you_mean
from batchnorm.lint.ignores import FileIgnore
from batchnorm.lint.rule import Rule
from batchnorm.lint.rules import RULES
from batchnorm.printable import shown
from batchnorm.source import expressions
from batchnorm.toml import read_toml, short

__all__ = ["Settings", "for_project", "from_pyproject", "link", "rule"]

_LISTS = ("select", "ignore", "exclude")
_TEXTS = {"ported-from": "a framework's name", "rule-url": "an address with {id} in it"}
_IGNORES = "per-file-ignores"
_KEYS = (*_LISTS, *_TEXTS, _IGNORES)


@dataclass(frozen=True)
class Settings:
    """What a run looks for.

    Attributes:
        select: ids, or their beginnings, of the rules to run; empty for all.
        ignore: ids, or their beginnings, of rules to leave out; stronger than `select`.
        ported_from: the framework that the files are ported from, for BN003.
        exclude: regular expressions; paths in which one is found are left out.
        per_file_ignores: rules that are left out of some files.
        rule_url: where the rules' pages are, with {id} for the id, for links in reports.
    """

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    ported_from: str | None = None
    exclude: tuple[str, ...] = ()
    per_file_ignores: tuple[FileIgnore, ...] = ()
    rule_url: str | None = None

    def __post_init__(self) -> None:
        by_file = (code for each in self.per_file_ignores for code in each.ids)
        for code in (*self.select, *self.ignore, *by_file):
            if not any(each.id.startswith(code) for each in RULES):
                raise InvalidValue(_unknown(code))
        if self.ported_from is not None:
            object.__setattr__(self, "ported_from", find(self.ported_from).name)
        if self.rule_url is not None and not _is_address(self.rule_url):
            raise InvalidValue(
                f"rule-url must be an address such as https://example.org/rules/{{id}}.md, but is "
                f"{short(self.rule_url)}"
            )
        expressions(self.exclude)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules to run."""
        selected = (r for r in RULES if r.id.startswith(self.select or ("",)))
        return tuple(r for r in selected if not (self.ignore and r.id.startswith(self.ignore)))

    def rules_for(self, path: Path) -> tuple[Rule, ...]:
        """The rules to run on one file."""
        covering = (each for each in self.per_file_ignores if each.covers(path))
        ignored = tuple(code for each in covering for code in each.ids)
        return tuple(r for r in self.rules if not (ignored and r.id.startswith(ignored)))


def link(rule: Rule, rule_url: str | None) -> str | None:
    """Where a rule's page is, if that is known."""
    return None if rule_url is None else rule_url.replace("{id}", rule.id)


def _is_address(text: str) -> bool:
    try:
        found = urlsplit(text)
    except ValueError:
        return False
    plain = text.isascii() and text.isprintable() and " " not in text
    return plain and found.scheme in ("http", "https") and bool(found.netloc) and "{id}" in text


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


def for_project(
    paths: Sequence[Path],
    select: Iterable[str] | None = None,
    ignore: Iterable[str] | None = None,
    ported_from: str | None = None,
    exclude: Iterable[str] = (),
) -> Settings:
    """What the first path's pyproject.toml says, and what is given here, which is stronger.

    Raises:
        ValueError: either can't be.
    """
    first = Path.cwd() if not paths or paths[0] == Path("-") else paths[0].resolve()
    found = dict(from_pyproject(first))
    found |= {"select": tuple(select)} if select is not None else {}
    found |= {"ignore": tuple(ignore)} if ignore is not None else {}
    found |= {"ported_from": ported_from} if ported_from is not None else {}
    found["exclude"] = (*found.get("exclude", ()), *exclude)
    return Settings(**found)


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
        found[key.replace("-", "_")] = _value(key, value, path)
    return found


def _value(key: str, value: Any, path: Path) -> Any:
    """What a key says, as an argument of `Settings`."""
    if key == _IGNORES:
        if not isinstance(value, dict):
            raise InvalidValue(
                f"{path}: {key} must be a table of patterns and lists of ids, but is {short(value)}"
            )
        folder = path.parent
        return tuple(FileIgnore(p, _strings(shown(p), v, path), folder) for p, v in value.items())
    if key in _LISTS:
        return _strings(key, value, path)
    if not isinstance(value, str):
        raise InvalidValue(f"{path}: {key} must be {_TEXTS[key]}, but is {short(value)}")
    return value


def _strings(key: str, value: Any, path: Path) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise InvalidValue(f"{path}: {key} must be a list of strings, but is {short(value)}")
    return tuple(value)
