"""JSON of strangers as data: bounded in memory and depth, every key once, no lone surrogates."""

from __future__ import annotations

import json
import re
from typing import Any

from batchnorm.checkpoints.source import Source
from batchnorm.errors import CheckpointError

__all__ = ["json_cost", "parsed_json", "too_deep"]

DEEPEST = 500  # brackets in one another
BRACKET = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\Z)|[\[\]{}]', re.DOTALL)  # or a text
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def json_cost(data: bytes) -> int:
    """Memory that parsing this JSON takes at most: what each sign can stand for."""
    lists, objects, keys = data.count(b"["), data.count(b"{"), data.count(b":")
    items, texts = data.count(b",") + lists + objects, data.count(b'"') // 2
    escapes, codes = data.count(b"\\"), data.count(b"\\u")
    plain = data.isascii()
    # The bytes, the text made of them, and the texts in it, which escapes can make wide as well.
    signs = (1 + (1 if plain else 4) + (1 if plain and not codes else 4)) * len(data)
    parts = 88 * lists + 240 * objects + 230 * keys + 48 * items + 60 * texts
    return signs + parts + 20 * escapes + 80 * codes


def too_deep(data: bytes) -> bool:
    """Whether brackets stand inside more than DEEPEST others, those in texts aside.

    Python's own bound is whatever limit of recursion somebody has set, torch's compiler for one;
    and the stack ends before a high one does.
    """
    if data.count(b"[") + data.count(b"{") <= DEEPEST:
        return False
    depth = 0
    for found in BRACKET.finditer(data):
        sign = found[0]
        depth += (sign in b"[{") - (sign in b"]}") if len(sign) == 1 else 0
        if depth > DEEPEST:
            return True
    return False


def parsed_json(source: Source, data: bytes, place: str) -> Any:
    """JSON as data: every key once, no lone surrogates, bounded depth and size."""
    source.spend(json_cost(data), place)
    if too_deep(data):
        source.fail(place, "is nested too deep")

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(items)
        if len(result) != len(items):
            source.fail(place, "a key occurs twice")
        return result

    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=pairs)
        if SURROGATE.search(data):  # of a pair, or alone, which no terminal or file can take
            source.spend(2 * len(data), place)
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except CheckpointError:
        raise
    except UnicodeDecodeError:
        source.fail(place, "is not UTF-8")
    except UnicodeEncodeError:
        source.fail(place, "holds lone surrogates, which are no text")
    except RecursionError:  # of a caller that is deep itself
        source.fail(place, "is nested too deep")
    except json.JSONDecodeError as error:
        source.fail(place, f"is not JSON ({error.msg} at {error.pos})")
    except ValueError:
        source.fail(place, "holds a number of thousands of digits")
