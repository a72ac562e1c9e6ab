"""Jupyter notebooks: their code cells as one text of Python, and the notebook with changed cells.

The text has a line before each cell that says which it is; lines that only IPython understands
(`%matplotlib inline`, `!pip install …`) are comments or `pass` in it, and come back as they were.
A cell that is no Python, by its first line or because it does not parse, is left out. What isn't
the source of a changed cell stays byte for byte: outputs, metadata, white space, unchanged lines.
Format: nbformat 4 (nbformat.readthedocs.io). Not here: what the code means.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from batchnorm.checkpoints.bounded_json import too_deep
from batchnorm.source.text import SourceError, parse_text

__all__ = ["Cell", "Notebook"]

_BLANK = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()
_MAGIC = re.compile(r"^(?P<indent>[ \t]*)(?P<rest>[%!?].*|[\w.]+\?{1,2}|(?P<name>\w+) *= *[%!].*)$")
_KEPT_CELLS = re.compile(r"%%(time|timeit|capture|prun|debug)\b")


@dataclass(frozen=True)
class Cell:
    """A code cell: its number among all cells, counted from 1, and where its source stands."""

    number: int
    text: str
    start: int
    end: int


class Notebook:
    """One notebook.

    Attributes:
        code: the text of its Python, UTF-8.
        unread: cells that are no Python by what they say, or don't parse: number and reason.

    Raises:
        SourceError: it is no notebook of format 4.
    """

    def __init__(self, raw: bytes) -> None:
        try:
            self._text = raw.decode()
            content = None if too_deep(raw) else json.loads(self._text)
        except (ValueError, RecursionError) as error:
            raise SourceError(f"is no notebook: {error}") from None
        if not isinstance(content, dict) or not isinstance(content.get("cells"), list):
            raise SourceError(
                "is no notebook of format 4, which has a list of cells: save it anew in Jupyter"
            )
        self._magics: list[str] = []
        self.unread: list[tuple[int, str]] = []
        self.cells: list[Cell] = []
        self._starts: list[int] = []
        self.code = b""
        if _is_python(content.get("metadata")):
            self._read()

    def _read(self) -> None:
        parts: list[str] = []
        line = 1
        found, mark = list(_code_cells(self._text)), "# %% batchnorm"
        while any(mark in cell.text for cell in found):
            mark += "_"
        self._head, self._pass = f"{mark}: cell ", f"pass  {mark}: line "
        for cell in found:
            text = self._python(cell)
            if text is None:
                continue
            self.cells.append(cell)
            self._starts.append(line + 1)
            part = f"{self._head}{cell.number}\n{text}\n"
            parts.append(part)
            line += part.count("\n")
        self.code = "".join(parts).encode()

    def _python(self, cell: Cell) -> str | None:
        """A cell's text without what only IPython understands; None where it isn't Python."""
        lines = cell.text.split("\n")
        if lines[0].startswith("%%") and not _KEPT_CELLS.match(lines[0]):
            return None
        try:
            parse_text(cell.text.encode())
            return cell.text
        except UnicodeEncodeError:
            self.unread.append((cell.number, "it holds lone surrogates, which are no text"))
            return None
        except SourceError:
            pass
        kept = len(self._magics)
        for index, text in enumerate(lines):
            found = _MAGIC.match(text)
            if found is not None:
                named = f"{found['name']} = None; " if found["name"] else ""
                lines[index] = f"{found['indent']}{named}{self._pass}{len(self._magics)}"
                self._magics.append(text)
        text = "\n".join(lines)
        try:
            parse_text(text.encode())
        except SourceError as error:
            del self._magics[kept:]
            self.unread.append((cell.number, str(error)))
            return None
        return text

    def place(self, line: int) -> tuple[int, int]:
        """The cell, and the line in it, of a line of `code`."""
        index = max(bisect_right(self._starts, line) - 1, 0)
        return self.cells[index].number, line - self._starts[index] + 1

    def with_code(self, code: bytes) -> bytes:
        """The notebook's bytes once `code` has become this."""
        texts = self._divided(code.decode())
        parts: list[str] = []
        place = 0
        for cell, text in zip(self.cells, texts, strict=True):
            if text != cell.text:
                parts += [self._text[place : cell.start], self._written(cell, text)]
                place = cell.end
        return "".join([*parts, self._text[place:]]).encode()

    def _divided(self, code: str) -> list[str]:
        """The cells' texts; what stands before the first head belongs to the first cell."""
        texts: list[str] = []
        for number, part in enumerate(
            re.split(rf"^{re.escape(self._head)}\d+\n", code, flags=re.M)
        ):
            back = re.sub(rf"^.*{re.escape(self._pass)}(\d+)$", self._magic, part, flags=re.M)
            if number == 0:
                before = back
                continue
            texts.append(before + back.removesuffix("\n"))
            before = ""
        return texts

    def _magic(self, found: re.Match[str]) -> str:
        return self._magics[int(found[1])]

    def _written(self, cell: Cell, text: str) -> str:
        """A cell's source as JSON, laid out like the one that it has."""
        ascii_only = self._text.isascii()
        if self._text[cell.start] != "[":
            return json.dumps(text, ensure_ascii=ascii_only)
        old = self._text[cell.start : cell.end]
        spans = list(_elements(old, 0))
        known = {json.loads(old[a:b]): old[a:b] for a, b in spans}
        opening = old[1 : spans[0][0]] if spans else ""
        gap = old[spans[0][1] : spans[1][0]] if len(spans) > 1 else ","
        gap += "" if len(spans) > 1 else opening or " "
        closing = old[spans[-1][1] : -1] if spans else ""
        lines = re.findall(r"[^\n]*\n|[^\n]+", text)
        whole = [known.get(line) or json.dumps(line, ensure_ascii=ascii_only) for line in lines]
        return f"[{opening}{gap.join(whole)}{closing}]" if whole else "[]"


def _is_python(metadata: object) -> bool:
    """Whether the kernel's language is Python, or isn't said."""
    if not isinstance(metadata, dict):
        return True
    said = [metadata.get("language_info"), metadata.get("kernelspec")]
    names = [each.get(key) for each, key in zip(said, ("name", "language"), strict=True)
             if isinstance(each, dict)]  # fmt: skip
    return all(name is None or str(name).lower().startswith(("python", "ipython"))
               for name in names)  # fmt: skip


def _code_cells(text: str) -> Iterator[Cell]:
    start, _ = dict(_members(text, _skip(text, 0)))["cells"]  # the last of a name, as in JSON
    for number, (first, _) in enumerate(_elements(text, start), 1):
        if text[first] != "{":
            continue
        parts = dict(_members(text, first))
        kind, source = parts.get("cell_type"), parts.get("source")
        if kind is None or source is None or json.loads(text[slice(*kind)]) != "code":
            continue
        found = json.loads(text[slice(*source)])
        lines = found if isinstance(found, list) else [found]
        if all(isinstance(line, str) for line in lines):
            yield Cell(number, "".join(lines), *source)


def _skip(text: str, place: int) -> int:
    found = _BLANK.match(text, place)
    return place if found is None else found.end()


def _members(text: str, start: int) -> Iterator[tuple[str, tuple[int, int]]]:
    """The keys of the object that begins at a place, and where their values stand."""
    place = _skip(text, start + 1)
    while text[place] != "}":
        key, place = _DECODER.raw_decode(text, place)
        place = _skip(text, _skip(text, place) + 1)
        _, end = _DECODER.raw_decode(text, place)
        yield key, (place, end)
        place = _skip(text, end)
        if text[place] == ",":
            place = _skip(text, place + 1)


def _elements(text: str, start: int) -> Iterator[tuple[int, int]]:
    """Where the elements of the array that begins at a place stand."""
    place = _skip(text, start + 1)
    while text[place] != "]":
        _, end = _DECODER.raw_decode(text, place)
        yield place, end
        place = _skip(text, end)
        if text[place] == ",":
            place = _skip(text, place + 1)
