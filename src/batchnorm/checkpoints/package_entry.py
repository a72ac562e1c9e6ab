"""The entry that this package writes into every format, so that A → B → A loses nothing.

One JSON object: the metadata that the target format has no place of its own for, and under
"extras" the plain values. The frameworks don't see it; where it lies is said in each format's file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from batchnorm.checkpoints.bounded_json import parsed_json
from batchnorm.checkpoints.checkpoint import Extra
from batchnorm.checkpoints.source import Source, quoted
from batchnorm.errors import CheckpointError

__all__ = ["PACKAGE_ENTRY", "entry_bytes", "merged", "parsed_entry"]

PACKAGE_ENTRY = "__batchnorm__"


def entry_bytes(metadata: Mapping[str, Any], extras: Mapping[str, Extra]) -> bytes:
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


def parsed_entry(source: Source, data: bytes | None) -> tuple[dict[str, Any], dict[str, Extra]]:
    """Metadata and extras as `entry_bytes` wrote them."""
    if not data:
        return {}, {}
    place = f"entry {PACKAGE_ENTRY}"
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
