"""The entry that this package writes into every format, so that A → B → A loses nothing.

One JSON object: the metadata that the target format has no place of its own for, and under
"extras" the plain values. The frameworks don't see it; where it lies is said in each format's file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from batchnorm.checkpoints.checkpoint import Extra
from batchnorm.checkpoints.source import Source, quoted
from batchnorm.errors import CheckpointError

__all__ = ["OWN", "json_cost", "merged", "own_bytes", "parsed_json", "parsed_own", "too_deep"]

OWN = "__batchnorm__"
DEEPEST = 500  # brackets in one another
BRACKET = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\Z)|[\[\]{}]', re.DOTALL)  # or a text
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def own_bytes(metadata: Mapping[str, Any], extras: Mapping[str, Extra]) -> bytes:
    """The entry's content; empty when there is nothing to say."""
    content = dict(metadata)
    if extras:
        content["extras"] = dict(extras)
    if not content:
        return b""
    try:
        return json.dumps(content, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"metadata and extras must be JSON: {error}") from None


def parsed_own(source: Source, data: bytes | None) -> tuple[dict[str, Any], dict[str, Extra]]:
    """Metadata and extras as `own_bytes` wrote them."""
    if not data:
        return {}, {}
    place = f"entry {OWN}"
    content = parsed_json(source, data, place)
    if not isinstance(content, dict):
        source.fail(place, "is not a JSON object")
    extras = content.pop("extras", {})
    if not isinstance(extras, dict) or not all(
        isinstance(v, bool | int | float | str | None) for v in extras.values()
    ):
        source.fail(place, "its extras are not plain values")
    for name, part in content.items():
        if not _FORMS.get(name, _is_table)(part):
            source.fail(place, f"its part {quoted(name)} has not the form that we write it in")
    return content, extras


def _is_table(part: Any) -> bool:
    return isinstance(part, dict)


def _is_texts(part: Any) -> bool:
    return isinstance(part, dict) and all(isinstance(text, str) for text in part.values())


def _is_layer(facts: Any) -> bool:
    """Whether the facts that this package looks at have their types."""
    if not isinstance(facts, dict):
        return False
    texts = [facts.get(key, "") for key in ("class_name", "path", "group")]
    for key in ("weights", "weight_names"):
        names = facts.get(key, [])
        texts += names if isinstance(names, list) else [None]
    version = facts.get("version")
    plain = version is None or (type(version) is int and abs(version) < 1 << 31)
    config = facts.get("config", {})
    return plain and all(isinstance(t, str) for t in texts) and isinstance(config, dict)


_FORMS: dict[str, Callable[[Any], bool]] = {  # of parts that are more than a table
    "layers": lambda part: _is_table(part) and all(map(_is_layer, part.values())),
    "safetensors": _is_texts,
    "npz_types": _is_texts,
    "torch": lambda part: _is_table(part) and _is_texts(part.get("skipped", {})),
}


def merged(recorded: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """Facts by layer: what our entry recorded, and above it what the file itself says."""
    result = dict(recorded)
    for name, facts in found.items():
        result[name] = {**result.get(name, {}), **facts}
    return result


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
