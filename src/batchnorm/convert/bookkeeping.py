"""What a training run leaves among a model's arrays: counters, observers, an average's copies.

Which names are a framework's counters and observers is said by its room (`saved.py`). An average's
copies are told by their names and shapes: each is another array's name behind a word such as `ema`.
A name that the other side of a conversion has is the model's, whatever it sounds like.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from batchnorm.checkpoints import Entry

__all__ = ["Aside", "averages", "set_aside"]

# An average's copies: `ema_backbone_bn1_weight`, `model_ema.conv.weight`, `averaged_model.…`.
AVERAGE = re.compile(
    r"((?:[a-zA-Z]+_)?(?:ema|swa|avg|averaged?|shadow)(?:_(?:model|net|weights))?)[._](.+)"
)


@dataclass
class Aside:
    """What was set aside.

    Attributes:
        counters: names of single numbers, learning rates and the like.
        observers: names of a quantization's arrays.
        averages: owner -> how many copies.
    """

    counters: list[str] = field(default_factory=list)
    observers: list[str] = field(default_factory=list)
    averages: dict[str, int] = field(default_factory=dict)

    def words(self) -> str:
        """One line; empty if nothing was set aside."""
        texts = []
        if self.counters:
            some = ", ".join(map(repr, self.counters[:4]))
            more = f" and {len(self.counters) - 4} more" if len(self.counters) > 4 else ""
            texts.append(f"{some}{more} of the training run")
        if self.observers:
            texts.append(
                f"{len(self.observers)} arrays of a quantization's observers, such as "
                f"{self.observers[0]!r}"
            )
        texts += [
            f"{count} arrays of {owner!r}, copies that average the others (take them with "
            f"--group {owner})"
            for owner, count in self.averages.items()
        ]
        return f"set aside what is no part of the model: {'; '.join(texts)}" if texts else ""


def set_aside(
    entries: Mapping[str, Entry], room: Any, keep: Collection[str], *, observers: bool = True
) -> tuple[dict[str, Entry], Aside]:
    """The model's own arrays, and what the others are.

    Args:
        entries: by name.
        room: the framework's `saved`.
        keep: names that are the model's.
        observers: whether a quantization's observers go, too.
    """
    aside = Aside()
    seen = [re.compile(text) for text in room.OBSERVERS] if observers else []
    counter = re.compile("|".join(room.COUNTERS) or "(?!)")
    found: dict[str, Entry] = {}
    for name, entry in entries.items():
        if name in keep:
            found[name] = entry
        elif len(entry.shape) < 2 and counter.fullmatch(name):
            aside.counters.append(name)
        elif any(each.fullmatch(part) for part in name.split(".") for each in seen):
            aside.observers.append(name)
        else:
            found[name] = entry
    copies = {n: (owner, of) for n, (owner, of) in averages(found).items() if n not in keep}
    for owner, _ in copies.values():
        aside.averages[owner] = aside.averages.get(owner, 0) + 1
    return {n: entry for n, entry in found.items() if n not in copies}, aside


def averages(entries: Mapping[str, Entry]) -> dict[str, tuple[str, str]]:
    """Copies that average other arrays: name -> (owner, the name of the other; empty for none).

    An owner's own counters, beside copies, are among them.
    """
    candidates = [(name, m[1], m[2]) for name in entries if (m := AVERAGE.fullmatch(name))]
    if not candidates:
        return {}
    own = {name for name, _, _ in candidates}
    index: dict[str, str] = {}
    for name in entries:
        if name not in own:
            index.setdefault(_squeezed(name), name)
            index.setdefault(_squeezed(name.partition(".")[2]), name)
    found: dict[str, tuple[str, str]] = {}
    for name, owner, rest in candidates:
        other = index.get(_squeezed(rest), "") or index.get(_squeezed(rest.partition(".")[2]), "")
        if other and entries[other].shape == entries[name].shape:
            found[name] = (owner, other)
    owners = {owner for owner, _ in found.values()}
    for name, owner, _ in candidates:
        if name not in found and owner in owners and _is_number(entries[name]):
            found[name] = (owner, "")
    return found


def _squeezed(name: str) -> str:
    return re.sub("[._/]", "", name)


def _is_number(entry: Entry) -> bool:
    return all(n == 1 for n in entry.shape)
