"""A file's text with its syntax tree: where a node stands, and how edits are applied.

Analysis and edits both rest on Python's own `ast`, whose nodes know their exact place; what no edit
touches stays as it was, byte for byte: comments, formatting, encoding, newlines. (LibCST, the other
way to keep comments, takes 80 times as long to tell what names mean in a file of 7000 lines, which
is more than a walk over a large library may take.) Not here: what the code means.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from batchnorm.errors import InvalidValue

__all__ = ["Edit", "Source", "SourceError", "apply", "parse_source", "parse_text"]

_LINE_ENDS = re.compile(rb"\r\n|\r|\n")
_BOM = b"\xef\xbb\xbf"
_NOT_TYPES = {"Literal", "Annotated"}  # whose subscripts quote no types
_FLAGS = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT  # notebooks await at their top


class SourceError(InvalidValue):
    """A file that can't be read as Python source: says where and why."""


@dataclass(frozen=True)
class Edit:
    """Put `text` in place of the bytes from `start` to `end`; equal places insert."""

    start: int
    end: int
    text: str


class Source:
    """One file's source.

    Attributes:
        data: the text in UTF-8, without a byte order mark.
        encoding: of the file on the disk; "utf-8-sig" where it begins with a mark.
        tree: its syntax tree, with annotations that are strings read as what they quote.
        newline: what ends its first line.
    """

    def __init__(self, data: bytes, encoding: str, tree: ast.Module) -> None:
        self.data, self.encoding, self.tree = data, encoding, tree
        ends = list(_LINE_ENDS.finditer(data))
        self._lines = [0, *(end.end() for end in ends)]
        self.newline = ends[0].group().decode() if ends else "\n"
        _unquote(self)

    @cached_property
    def parents(self) -> dict[ast.AST, ast.AST]:
        """The node around each node."""
        found: dict[ast.AST, ast.AST] = {}
        pending: list[ast.AST] = [self.tree]
        while pending:
            node = pending.pop()
            for child in ast.iter_child_nodes(node):
                found[child] = node
                pending.append(child)
        return found

    def span(self, node: ast.AST) -> tuple[int, int]:
        """The first byte of a node and the one after its last; parentheses around it are out."""
        where: ast.expr = node  # type: ignore[assignment]
        start = self._lines[where.lineno - 1] + where.col_offset
        return start, self._lines[(where.end_lineno or 1) - 1] + (where.end_col_offset or 0)

    def text(self, node: ast.AST) -> str:
        """A node as it is written."""
        start, end = self.span(node)
        return self.data[start:end].decode()

    def line_start(self, line: int) -> int:
        """Where a line, counted from 1, begins."""
        return self._lines[line - 1]

    def line(self, number: int) -> str:
        """A line, counted from 1, without its end; empty beyond the last."""
        if not 0 < number <= len(self._lines):
            return ""
        rest = self._lines[number] if number < len(self._lines) else len(self.data)
        return self.data[self._lines[number - 1] : rest].decode().rstrip("\r\n")

    def statement(self, node: ast.AST) -> ast.stmt:
        """The innermost statement that holds a node, or is it."""
        while not isinstance(node, ast.stmt):
            node = self.parents[node]
        return node

    def around(self, node: ast.AST) -> Iterator[ast.AST]:
        """The nodes around a node, from the inside out."""
        while node in self.parents:
            node = self.parents[node]
            yield node

    def encoded(self, data: bytes) -> bytes:
        """Changed text as bytes of the file's own encoding.

        Raises:
            SourceError: the encoding can't say it.
        """
        try:
            return data.decode().encode(self.encoding)
        except UnicodeError as error:
            raise SourceError(f"can't be written in its encoding: {error}") from None


def parse_source(raw: bytes) -> Source:
    """Read a file's bytes.

    Raises:
        SourceError: the encoding is unknown or wrong, or the text does not parse.
    """
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(raw).readline)
        data = raw.removeprefix(_BOM).decode(encoding.removesuffix("-sig")).encode()
    except (SyntaxError, LookupError, UnicodeError) as error:
        raise SourceError(f"is not text in its encoding: {error}") from None
    return parse_text(data, encoding)


def parse_text(data: bytes, encoding: str = "utf-8") -> Source:
    """Read text that is UTF-8 already, whatever it says about its encoding on the disk.

    Raises:
        SourceError: it does not parse.
    """
    try:
        with warnings.catch_warnings():  # about the user's escapes, which are theirs
            warnings.simplefilter("ignore")
            tree = compile(data.decode(), "<source>", "exec", _FLAGS, dont_inherit=True)
    except SyntaxError as error:
        here = f"Python {sys.version_info[0]}.{sys.version_info[1]}"
        raise SourceError(
            f"line {error.lineno or 1}: does not parse: {error.msg}{_newer(data, error)} (read by "
            f"{here})"
        ) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise SourceError(f"does not parse: {error or 'it is nested too deeply'}") from None
    return Source(data, encoding, tree)


def _newer(data: bytes, error: SyntaxError) -> str:
    """What a line may be that this Python refuses and a newer one takes."""
    lines = data.decode(errors="replace").splitlines()
    number = (error.lineno or 1) - 1
    line = lines[number] if number < len(lines) else ""
    for version, pattern in _NEWER:
        if sys.version_info < version and re.search(pattern, line):
            return f"; it may be syntax of Python {version[0]}.{version[1]}: run it by that"
    return ""


_NEWER = (
    ((3, 12), r"^\s*type\s+\w+.*=|^\s*(class|(async\s+)?def)\s+\w+\s*\[|\b[fF][rR]?['\"]"),
    ((3, 14), r"^\s*except\s+[\w.]+\s*,|\b[tT][rR]?['\"]"),
)
"""Generic functions, `type` and quotes in f-strings; `except A, B:` and t-strings."""


def _unquote(source: Source) -> None:
    """Put what annotations quote into the tree, each expression where it is written.

    `bn: "nn.BatchNorm2d"` means what it means without the quotes, and an edit of it stands between
    them. Other strings that happen to hold code stay strings.
    """
    for node in ast.walk(source.tree):
        if isinstance(node, ast.AnnAssign | ast.arg) and node.annotation is not None:
            node.annotation = _unquoted(source, node.annotation)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns is not None:
            node.returns = _unquoted(source, node.returns)


def _unquoted(source: Source, node: ast.expr) -> ast.expr:
    match node:
        case ast.Constant(value=str(quoted)) if "Norm" in quoted:
            return _inside(source, node, quoted) or node
        case ast.Subscript(value=ast.Name(id=name) | ast.Attribute(attr=name)):
            if name not in _NOT_TYPES:
                node.slice = _unquoted(source, node.slice)
        case ast.Tuple() | ast.List():
            node.elts = [_unquoted(source, element) for element in node.elts]
        case ast.BinOp():
            node.left, node.right = _unquoted(source, node.left), _unquoted(source, node.right)
    return node


def _inside(source: Source, node: ast.Constant, quoted: str) -> ast.expr | None:
    """What a plain string of one line quotes; None if it is another kind, or no expression."""
    if not quoted.isascii() or source.text(node)[1:-1] != quoted:
        return None
    try:
        found = ast.parse(quoted, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    for part in ast.walk(found):
        if isinstance(part, ast.expr | ast.keyword):
            part.lineno = part.end_lineno = node.lineno
            part.col_offset += node.col_offset + 1
            part.end_col_offset = (part.end_col_offset or 0) + node.col_offset + 1
    return found


def apply(data: bytes, edits: Iterable[Edit]) -> bytes:
    """The text after edits, which may touch but not overlap; insertions keep their order."""
    parts: list[bytes] = []
    place = 0
    for edit in sorted(edits, key=lambda e: (e.start, e.end)):
        if edit.start < place:
            raise AssertionError(f"edits overlap at byte {edit.start}")
        parts += [data[place : edit.start], edit.text.encode()]
        place = edit.end
    return b"".join([*parts, data[place:]])
