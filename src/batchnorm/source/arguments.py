"""The argument list of a call as text: items that can be replaced, dropped and added.

White space and comments between the items stay where they are; added items are laid out like those
that are there. Not here: what the arguments are to become (`calls`).
"""

from __future__ import annotations

import io
import re
import tokenize
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["Arguments", "Item"]

_NEWLINES = re.compile("\r\n|\r|\n")
_OPEN, _CLOSE = frozenset("([{"), frozenset(")]}")
_TRIVIA = {tokenize.NL, tokenize.COMMENT, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}


@dataclass
class Item:
    """One argument: what stands before it, its text, and what stands before the next comma.

    `new` is None while it stays as it is, and empty when it goes.
    """

    lead: str
    text: str
    trail: str = ""
    new: str | None = None


class Arguments:
    """The arguments of one call.

    Args:
        text: of the call, from its callee to its last parenthesis.
        callee: how many characters of it are the callee.
    """

    def __init__(self, text: str, callee: int) -> None:
        found = _NEWLINES.search(text)
        self._newline = "\n" if found is None else found.group()
        self.callee = text[:callee]
        text, callee = _plain(text), len(_plain(self.callee))
        self.items, self.open, self.end = _split(text, callee)
        self._comma = bool(self.items) and _ends_with_comma(text, self.end)
        if self.items and not self._comma:  # what stands before the parenthesis stays there
            self.end, self.items[-1].trail = self.items[-1].trail + self.end, ""

    def written(self, added: list[str], first: list[str] | None = None) -> str:
        """The list with its parentheses, as it becomes.

        Args:
            added: new arguments, which follow the others.
            first: new arguments, which stand before the others.
        """
        lead = self._lead()
        opening = self.items[0].lead if self.items else ""
        items = [Item(lead, text) for text in first or []]
        if first and self.items and not self.items[0].lead:
            self.items[0].lead = " "
        kept = ""  # the comments of arguments that go
        for item in self.items:
            if item.new == "":
                kept += _comments(item.lead) + _comments(item.trail)
                continue
            text = item.text if item.new is None else _plain(item.new)
            items.append(Item(_joined(kept, item.lead), text, item.trail))
            kept = ""
        end = self.end
        if added and items and "\n" in lead and "#" in end.partition("\n")[0]:
            # The comment at the end of the last line is about the argument in that line.
            comment, _, end = end.partition("\n")
            items.append(Item(comment + lead, added[0]))
            items += [Item(lead, text) for text in added[1:]]
            end = "\n" + end
        else:
            items += [Item(lead, text) for text in added]
        if items and not _comments(items[0].lead):
            items[0].lead = opening
        body = ",".join(item.lead + item.text + item.trail for item in items)
        comma = "," if self._comma and items else ""
        whole = _plain(f"{self.open}{body}{comma}{_joined(kept, end)}")
        return whole.replace("\n", self._newline)

    def _lead(self) -> str:
        """The white space before a new item: a new line of its own where the others have one."""
        last = self.items[-1].lead if self.items else ""
        if "\n" in last:
            indent = last[last.rindex("\n") :]
            if len(self.items) == 1 or any("\n" in item.lead for item in self.items[1:]):
                return indent
        return " "


def _plain(text: str) -> str:
    """Text whose lines end as Python's tokens have it; the file's own ends are put back."""
    return _NEWLINES.sub("\n", text)


def _split(text: str, callee: int) -> tuple[list[Item], str, str]:
    starts = [0]
    for line in text.split("\n"):  # all that ends a token's line; a form feed doesn't
        starts.append(starts[-1] + len(line) + 1)
    offset = callee - starts[text.count("\n", 0, callee)]
    row = text.count("\n", 0, callee)
    tokens = [
        token
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if (token.start[0] - 1, token.start[1]) >= (row, offset)
    ]
    places = [
        (starts[t.start[0] - 1] + t.start[1], starts[t.end[0] - 1] + t.end[1]) for t in tokens
    ]
    first = next(index for index, token in enumerate(tokens) if token.string == "(")
    depth, commas, stop = 0, [], len(text) - 1
    for token, (start, _) in list(zip(tokens, places, strict=True))[first:]:
        if token.type != tokenize.OP:
            continue
        if token.string in _OPEN:
            depth += 1
        elif token.string in _CLOSE:
            depth -= 1
            if not depth:
                stop = start
                break
        elif token.string == "," and depth == 1:
            commas.append(start)
    begin = places[first][1]
    solid = [
        place
        for token, place in zip(tokens, places, strict=True)
        if token.type not in _TRIVIA and place[0] >= begin and place[1] <= stop and token.string
    ]
    items: list[Item] = []
    cuts = [begin - 1, *commas, stop]
    for before, after in pairwise(cuts):
        inside = [place for place in solid if place[0] > before and place[1] <= after]
        if inside:
            start, end = inside[0][0], inside[-1][1]
            items.append(Item(text[before + 1 : start], text[start:end], text[end:after]))
    tail = stop if items else begin
    if items and len(commas) == len(items):
        tail = cuts[-2] + 1
    return items, text[callee:begin], text[tail:]


def _ends_with_comma(text: str, end: str) -> bool:
    return text[: len(text) - len(end)].rstrip().endswith(",")


def _comments(trivia: str) -> str:
    """White space with comments, up to the last comment's line; nothing without comments."""
    if "#" not in trivia:
        return ""
    return trivia[: trivia.rindex("\n")].rstrip() if "\n" in trivia else ""


def _joined(kept: str, lead: str) -> str:
    """Comments that stay, before white space that has a line of its own."""
    if not kept:
        return lead
    return kept + (lead if lead.lstrip(" \t").startswith("\n") else "\n" + lead.lstrip("\n"))
