"""Text of strangers as it may be printed: what a terminal, page or log would act on is escaped.

Names and values of files, paths, what another program says: all of it goes through `shown` before a
renderer puts it anywhere, and once more through `shown_lines` where a command's output ends
(`batchnorm.cli.output`). Escaped are C0 and C1 controls (ESC, carriage return, CSI), the marks that
turn the direction of writing (CVE-2021-42574), line separators, invisible tags and surrogates;
letters of every script stay. Not here: what a format's own syntax needs (HTML, Markdown, workflow
commands), which its renderer adds. Facts: Unicode 16, chapter 23; ECMA-48.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from numbers import Integral
from typing import Any

__all__ = [
    "CONTROL",
    "as_ascii",
    "escaped_json",
    "first_lines",
    "html_table",
    "json_text",
    "shown",
    "shown_lines",
    "strict_json",
]

ACTED_ON = (
    "\x00-\x1f\x7f-\x9f"  # C0, DEL and C1
    "\xad\u061c\u180e\u200b\u200e\u200f"  # invisible, or marks of direction
    "\u2028-\u202e\u2060-\u206f"  # line separators, embeddings, overrides, isolates
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff"
    "\ud800-\udfff"
)
CONTROL = re.compile(f"[{ACTED_ON}]")
INSIDE_LINES = re.compile(f"(?![\n\t])[{ACTED_ON}]")
BEYOND_ASCII = re.compile("[^\x00-\x7f]")
# Signs of our own texts, for consoles that can't say them.
TYPOGRAPHY = str.maketrans({
    "—": "-", "–": "-", "→": "->", "←": "<-", "↔": "<->", "⇒": "=>", "×": "x", "·": ".", "…": "...",
    "≤": "<=", "≥": ">=", "≠": "!=", "≈": "~", "−": "-", "±": "+-", "✓": "ok", "✗": "x", "•": "*",
    "“": '"', "”": '"', "‘": "'", "’": "'", "²": "^2", "³": "^3", "√": "sqrt", "ε": "epsilon",
    "γ": "gamma", "β": "beta", "μ": "mu", "µ": "mu", "σ": "sigma", "∞": "inf",
    "━": "-", "─": "-", "│": "|", "┃": "|",
})  # fmt: skip


def shown(text: object) -> str:
    r"""A text as part of a line: newlines are escaped as well.

    >>> shown("bn\x1b[31m\n1")
    'bn\\x1b[31m\\n1'
    """
    return CONTROL.sub(_escaped, str(text))


def shown_lines(text: str) -> str:
    """Whole lines: newlines and tabs stay."""
    return INSIDE_LINES.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return ascii(found[0])[1:-1]


def as_ascii(text: str) -> str:
    r"""A text for a console whose encoding lacks its signs: like signs, else `\uXXXX`.

    >>> as_ascii("n → 2 × 3, 卷积")
    'n -> 2 x 3, \\u5377\\u79ef'
    """
    return BEYOND_ASCII.sub(_unit, text.translate(TYPOGRAPHY))


def _unit(found: re.Match[str]) -> str:
    """A sign as JSON escapes it, in one or two units of UTF-16."""
    return json.dumps(found[0])[1:-1]


def strict_json(value: Any) -> Any:
    """Plain data as JSON can say it: what is no finite number becomes its text.

    >>> strict_json({"best": float("inf"), "shape": (2, 3)})
    {'best': 'inf', 'shape': [2, 3]}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(k) if isinstance(k, float) else k: strict_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [strict_json(item) for item in value]
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    return value if isinstance(value, str | bool | None) else str(value)


def json_text(value: Any, indent: int | None = None, *, ascii_only: bool = False) -> str:
    """One JSON document; controls that a terminal acts on are escaped in its texts."""
    text = json.dumps(strict_json(value), indent=indent, ensure_ascii=False, allow_nan=False)
    return escaped_json(text, ascii_only=ascii_only)


def escaped_json(text: str, *, ascii_only: bool = False) -> str:
    """A JSON document with more of its signs escaped; outside of texts there are none of them."""
    text = INSIDE_LINES.sub(_code_units, text)
    return BEYOND_ASCII.sub(_unit, text) if ascii_only else text


def _code_units(found: re.Match[str]) -> str:
    return "\\u007f" if found[0] == "\x7f" else _unit(found)


SCREEN = 20


def first_lines(lines: Iterable[str], last: str, count: int = SCREEN) -> str:
    """The first lines, how many more there are, and a last one: a report on one screen."""
    every = [shown(line) for line in lines]
    more = [f"… {len(every) - count} lines more"] if len(every) > count else []
    return "\n".join([*every[:count], *more, shown(last)])


def html_table(head: Sequence[str], rows: Sequence[Sequence[str]], last: str) -> str:
    """A table for notebooks: the first rows, and a last line."""

    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(shown(c))}</{tag}>" for c in cells) + "</tr>"

    body = "".join(line(cells, "td") for cells in rows[:SCREEN])
    more = f"<p>… {len(rows) - SCREEN} more</p>" if len(rows) > SCREEN else ""
    return f"<table>{line(head, 'th')}{body}</table>{more}<p>{escape(shown(last))}</p>"
