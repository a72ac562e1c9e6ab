"""A live model's state as a checkpoint in memory: torch modules, MindSpore cells, Keras models.

No framework is imported: a model is asked for what its own saving code asks for, by its room
(`frameworks/`, the facet `live`). A layer's settings and class come along, which most files don't
hold.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from batchnorm.batches import carried, is_last
from batchnorm.checkpoints import Checkpoint, Entry
from batchnorm.convert.settings import Settings
from batchnorm.errors import CheckpointError, InvalidType, InvalidValue
from batchnorm.frameworks import current, find
from batchnorm.layer import Layer
from batchnorm.read import record_of

__all__ = ["batches_of", "checkpoint_of", "checkpoint_of_mapping"]

PLAIN = (bool, int, float)  # a trainer's epoch; below a layer's name, an array of its


def checkpoint_of(model: Any, batch: Any = None) -> Checkpoint:
    """The state of a live model, or of one of this package's own layers.

    Args:
        model: the model.
        batch: an input, to see in one run which of its layers feeds which.

    Raises:
        TypeError: it is no model of a framework that is known here.
    """
    if isinstance(model, Layer):
        return _ours(model)
    record = record_of(model)
    state = None if record is None else record.room("live").state_of(model)
    if record is not None and state is not None:
        arrays, metadata = state
        entries = [Entry.of(name, value) for name, value in arrays.items()]
        steps = metadata.pop("steps", ())
        if batch is not None:
            steps = record.room("tracing").steps_of(model, batch)
            metadata["run"] = True
        found = _checkpoint(entries, record.framework, metadata)
        found.steps = steps
        return found
    raise InvalidType(
        f"expected a path, a mapping of names to arrays, a Checkpoint, or a torch, MindSpore or "
        f"Keras model, but got {type(model).__module__}.{type(model).__qualname__}"
    )


def batches_of(batch: Any, source: Any, like: Any) -> tuple[Any, Any]:
    """What the source and the template are run on, each in its own layout; None for a file.

    Args:
        batch: what was given: in the source's layout, or in that of the template if it alone lives.
        source: the source, a live model or any other.
        like: the template.

    Raises:
        ValueError: a batch without a live model, on which it could be run.
    """
    if batch is None:
        return None, None
    lasts = []
    for one in (source, like):
        plain = one is None or isinstance(one, str | os.PathLike | Mapping | Checkpoint)
        record = None if plain else record_of(one)
        room = None if record is None else record.room("running")
        lasts.append(None if room is None else is_last(room, one))
    if lasts[0] is None and lasts[1] is None:
        raise InvalidValue("batch: there is no live model to run it on; give one as source or like")
    if lasts[0] is None or lasts[1] is None:
        return (None, batch) if lasts[0] is None else (batch, None)
    return batch, carried(batch, lasts[0], lasts[1])


def checkpoint_of_mapping(given: Mapping[Any, Any]) -> Checkpoint:
    """What a dictionary holds: arrays, tensors or entries by name; plain values; dictionaries.

    Raises:
        CheckpointError: a name is no text, or a value none of these.
    """
    found = Checkpoint({}, "memory", groups=())
    _collect(found, given, "")
    found.groups = found.groups or ("",)
    return found


def _collect(found: Checkpoint, given: Mapping[Any, Any], front: str) -> None:
    for key, value in given.items():
        if not isinstance(key, str):
            raise CheckpointError(f"{front or 'the mapping'}: {key!r} is no name; expected a text")
        name = front + key
        if isinstance(value, Mapping):
            _collect(found, value, f"{name}/")
        elif isinstance(value, str | None) or (isinstance(value, PLAIN) and "." not in key):
            found.extras[name] = value
        else:
            plain = _values(value)
            is_entry = isinstance(plain, Entry)
            found.entries[name] = plain.renamed(name) if is_entry else Entry.of(name, plain)
            if front.rstrip("/") not in found.groups:
                found.groups = (*found.groups, front.rstrip("/"))


def _checkpoint(entries: list[Entry], framework: str, metadata: dict[str, Any]) -> Checkpoint:
    return Checkpoint({e.name: e for e in entries}, "memory", framework, metadata)


def _ours(layer: Layer) -> Checkpoint:
    names = {name: entry.bare_name or name for name, entry in layer.STATE.items()}
    framework = layer.FRAMEWORK
    front = "layer/" if find(framework).is_keras else ""
    entries = [Entry.of(front + names[name], value) for name, value in layer.state.items()]
    settings = {front.rstrip("/"): Settings.of_layer(layer).as_json()}
    return _checkpoint(entries, framework, {"batchnorm": {"settings": settings}})


def _values(value: Any) -> Any:
    """The array of a tensor that NumPy doesn't take by itself; all else as it is."""
    rooms = (record.room("live") for record in current() if record.has("live"))
    return next((v for room in rooms if (v := room.array_of(value)) is not None), value)
