"""`Wrapping`: words that wrappers put into names, such as DataParallel's `module.`, and back again.

A wrapper holds one module, so its word is the only one at its place in all names. Which words are
wrappers' is said by the framework's room (`saved.py`). Not here: prefixes of dictionaries
(`source`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Wrapping", "wrapping"]

Path = tuple[str, ...]


@dataclass(frozen=True)
class Wrapping:
    """What was taken out of names, and where.

    Attributes:
        inserted: path without wrappers -> what stood behind it, with its dots: "" for all names.
    """

    inserted: Mapping[str, str] = field(default_factory=dict)

    @property
    def prefix(self) -> str:
        """What stood before every name."""
        return self.inserted.get("", "")

    def put(self, name: str) -> str:
        """A name with the wrappers' words."""
        if not self.inserted:
            return name
        parts = name.split(".")
        found = [self.inserted.get(".".join(parts[:i]), "") + p for i, p in enumerate(parts)]
        return ".".join(found)

    def bare(self, name: str) -> str:
        """A name without them; what has none stays."""
        if not self.inserted:
            return name
        rest, done = name, ""
        while rest:
            rest = rest.removeprefix(self.inserted.get(done, ""))
            word, dot, rest = rest.partition(".")
            done = f"{done}.{word}" if done else word
            if not dot:
                break
        return done

    def words(self) -> str:
        """For a report: what was taken, and from where."""
        texts = [f"{self.prefix!r} off every name"] if self.prefix else []
        texts += [f"{word!r} from behind {path!r}" for path, word in self.inserted.items() if path]
        return ", ".join(texts[:4]) + (f" and {len(texts) - 4} more" if len(texts) > 4 else "")

    @classmethod
    def of(cls, given: Any) -> Wrapping:
        """As a record has it: a text is the prefix, a table what stands where."""
        if isinstance(given, str):
            return cls({"": given} if given else {})
        if not isinstance(given, Mapping):
            return cls()
        return cls({str(k): v for k, v in given.items() if isinstance(v, str)})

    def as_json(self) -> str | dict[str, str]:
        """For a record."""
        return dict(self.inserted) if set(self.inserted) - {""} else self.prefix


def wrapping(names: Iterable[str], words: Iterable[str], outer: Iterable[str]) -> Wrapping:
    """Which wrappers' words are in all the names below some path.

    Args:
        names: the arrays' names.
        words: those of wrappers that can stand anywhere.
        outer: those that count only where nothing but wrappers stands before them, and not over a
            list of numbered modules, which is a model of its own.
    """
    children: dict[Path, set[str]] = {}
    for name in names:
        parts = tuple(name.split("."))
        for end in range(len(parts)):
            children.setdefault(parts[:end], set()).add(parts[end])
    inside, around = set(words), set(outer)
    inserted: dict[str, str] = {}

    def taken(path: Path, word: str, bare: Path) -> bool:
        below = children.get((*path, word))
        if below is None:  # an array's own name
            return False
        if word in inside:
            return True
        return word in around and not bare and not all(child.isdigit() for child in below)

    waiting: list[tuple[Path, Path]] = [((), ())]
    while waiting:
        path, bare = waiting.pop()
        below = children.get(path, set())
        (word,) = below if len(below) == 1 else ("",)
        if taken(path, word, bare):
            place = ".".join(bare)
            inserted[place] = inserted.get(place, "") + word + "."
            waiting.append(((*path, word), bare))
            continue
        waiting += [((*path, child), (*bare, child)) for child in below]
    return Wrapping(inserted)
