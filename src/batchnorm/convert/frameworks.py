"""Whose checkpoint it is, and whose is wanted: by what the file says, by names, or by the suffix.

Not here: which container a file is (`batchnorm.checkpoints.detect`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from batchnorm.checkpoints import Checkpoint
from batchnorm.checkpoints.detection import format_of_name
from batchnorm.convert.rooms import rooms, saved
from batchnorm.errors import CheckpointError
from batchnorm.frameworks import current, find

__all__ = ["framework_of", "framework_of_target", "is_framework", "known_framework"]

# Whose files a format holds, where it holds one framework's only.
FORMATS = {f: r.framework for r in rooms() for f in saved(r.framework).FORMATS}


def known_framework(name: str) -> str:
    """The framework whose names the files of another have: `mindspore` for `mindspore@2.10`.

    Raises:
        ValueError: there is none of that name.
    """
    record = find(name)
    return record.names_of[0] if record.names_of else record.framework


def is_framework(name: object) -> bool:
    """Whether a file's own word is a framework's name, which no alias is."""
    return any(name == record.name for record in current())


def framework_of(checkpoint: Checkpoint, given: str | None = None) -> str:
    """The framework whose names a checkpoint has.

    Raises:
        CheckpointError: neither the file nor its names tell.
    """
    if given is not None:
        return known_framework(given)
    if checkpoint.framework is not None:
        return checkpoint.framework
    ours = checkpoint.metadata.get("batchnorm")
    if isinstance(ours, dict) and is_framework(ours.get("framework")):
        return str(ours["framework"])
    if checkpoint.format in FORMATS:  # Keras 3 names its layers, so one without is Keras 2's
        family = _family(FORMATS[checkpoint.format])
        return next((r.framework for r in rooms() if r.lineage == family), family)
    found = _by_names(checkpoint)
    if not checkpoint.entries:
        raise CheckpointError(
            f"{checkpoint.path or 'the mapping'}: holds no arrays; expected a model's state"
        )
    if found is None:
        raise CheckpointError(
            f"{checkpoint.path or 'the mapping'}: neither the file nor its names "
            f"({', '.join(repr(n) for n in list(checkpoint)[:3])}, …) say which framework wrote "
            "it; say so (--from torch, mindspore, keras or tf_keras)"
        )
    return found


def _by_names(names: Iterable[str]) -> str | None:
    listed = list(names)
    for framework in (r.framework for r in rooms() if not r.lineage):
        signs = saved(framework).SIGNS
        if any(f"{'' if '/' in n else '.'}{n}".endswith(signs) for n in listed):
            return framework
    alone = (r.framework for r in rooms() if saved(r.framework).ALONE)
    return next((name for name in alone if set(listed) >= saved(name).ALONE), None)


def _family(framework: str) -> str:
    """The framework of which it is a version too: files of the two have the same names."""
    return find(framework).lineage or framework


def framework_of_target(
    path: str | os.PathLike[str] | None, like: Checkpoint | None, given: str | None
) -> str:
    """The framework to convert to: as told, as the template's, or as the suffix says.

    Raises:
        CheckpointError: none of them says it, or they contradict each other.
    """
    said = {}
    if given is not None:
        said["--to"] = known_framework(given)
    if like is not None and (given is None or like.framework is not None):
        said[str(like.path or "the template")] = framework_of(like)
    format = format_of_name(Path(path)) if path is not None else None
    record = None if given is None else find(given)
    fits = record is not None and FORMATS.get(str(format)) in record.names_of
    if format in FORMATS and not fits:
        said[str(path)] = FORMATS[format]
    families = {_family(framework): place for place, framework in said.items()}
    if len(families) > 1:
        own = {"--to": record.framework} if record is not None else {}
        listed = " and ".join(f"{place} is {own.get(place, its)}" for place, its in said.items())
        raise CheckpointError(
            f"{listed}; choose one: .pth holds torch's names, .ckpt MindSpore's, .h5 and .keras "
            "Keras's, .safetensors and .npz any"
        )
    if said:
        return next(iter(said.values()))
    raise CheckpointError(
        f"{path or 'no target'}: doesn't tell the target's framework; say it "
        "(--to torch, mindspore, keras or tf_keras)"
    )
