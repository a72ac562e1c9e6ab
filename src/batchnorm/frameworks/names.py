"""Which framework a user's word means: names, aliases, versions, the layers' own paths.

One rule for every command and function. Not here: the words themselves, which are fields of the
frameworks' records.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any

from batchnorm.errors import InvalidValue
from batchnorm.frameworks.framework import Framework

__all__ = ["did_you_mean", "resolve"]

# `keras@2`, `keras2`, `Keras 2`, `mindspore_2_0`, `torch==2.13.0+cpu`
_VERSIONED = re.compile(r"(.*?[^\d.])[@=_]*v?(\d+(?:[._]\d+)*)(?:\+\w+)?")
_CLASS = re.compile(r"(?:lazy|sync)?batchnorm\w*")


def resolve(name: str, known: Sequence[Framework]) -> Framework:
    """The framework that a name means.

    Args:
        name: a name, an alias, either with a version, or the path of a layer; in any case of
            letters.
        known: the frameworks, those that a name without a version means first.

    Raises:
        ValueError: no framework, or none in that version; says which there are.
    """
    word = re.sub(r"[\s-]+", "_", name.strip().casefold()) if isinstance(name, str) else ""
    found = _unversioned(word, known)
    if found is not None:
        return found
    match = _VERSIONED.fullmatch(word)
    base = _unversioned(match[1].rstrip("@=_"), known) if match else None
    if match and base is not None:
        wanted = match[2].replace("_", ".").split(".")
        versions = [r for r in known if base.framework in (r.framework, r.lineage)]
        for record in versions:
            if record.version.split(".")[: len(wanted)] == wanted:
                return record
        listed = ", ".join(f"{record.framework}@{record.version}" for record in versions)
        raise InvalidValue(f"there is no {name!r} here; known versions: {listed}")
    raise InvalidValue(
        f"unknown framework {name!r}{_hint(word, known)}; expected one of "
        f"{', '.join(record.name for record in known)}"
    )


def did_you_mean(name: str, known: Iterable[Any]) -> str:
    """A hint at the nearest known name, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _unversioned(word: str, known: Sequence[Framework]) -> Framework | None:
    for record in known:
        if word == record.name or (not record.older and word in record.aliases):
            return record
    place, _, last = word.rpartition(".")
    for record in known:
        places = {each.casefold() for each in _places(record)}
        if word in places or (place in places and _CLASS.fullmatch(last)):
            return record
    return None


def _places(record: Framework) -> list[str]:
    own = [record.module, f"bn.{record.module}", f"batchnorm.{record.module}"]
    if record.older:
        return own  # the framework's own paths name no version
    return [*own, *record.places]


def _hint(word: str, known: Sequence[Framework]) -> str:
    """The framework nearest to a word, or the one that a path begins with."""
    current = [record for record in known if not record.older]
    words = {alias: r.name for r in current for alias in (*r.aliases, r.name)}
    parts = word.split(".")
    for length in range(len(parts) - 1, 0, -1):
        front = ".".join(parts[:length])
        if front in words:
            return f" (did you mean {words[front]!r}?)"
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    return f" (did you mean {words[close[0]]!r}?)" if close else ""
