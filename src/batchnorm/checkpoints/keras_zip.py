"""Keras's `.keras`: a stored zip of `metadata.json`, `config.json` and `model.weights.h5`.

Facts: keras 3.15 and tf_keras 2.21 `saving_lib.py`, files of both (tests/data/checkpoints). Written
only into a template, because the config is a program's worth of decisions that no checkpoint holds
(`keras_template`).
"""

from __future__ import annotations

from typing import Any

from batchnorm.checkpoints.bounded_json import parsed_json
from batchnorm.checkpoints.checkpoint import Checkpoint
from batchnorm.checkpoints.hdf5_objects import Group, open_root
from batchnorm.checkpoints.keras_h5 import weights_checkpoint
from batchnorm.checkpoints.source import Source, quoted
from batchnorm.checkpoints.zip_archive import (
    Member,
    check_crc,
    inflated,
    read_members,
    stored_storage,
)

__all__ = ["WEIGHTS", "open_weights", "read"]

WEIGHTS = "model.weights.h5"
SHARDED = "model.weights.json"


def read(source: Source) -> Checkpoint:
    """The arrays of a `.keras` archive, under their layers' names."""
    members = read_members(source)
    version = _json(source, members, "metadata.json").get("keras_version")
    version = version if isinstance(version, str) else None
    config = _json(source, members, "config.json")
    inner, root = open_weights(source, members)
    checkpoint = weights_checkpoint(inner, root, config, version)
    checkpoint.format, checkpoint.path = "keras", source.path
    return checkpoint


def open_weights(source: Source, members: dict[str, Member]) -> tuple[Source, Group]:
    """The HDF5 file inside the archive, and its tree."""
    if SHARDED in members or any(name.endswith(".weights.npz") for name in members):
        source.fail("zip directory", "its weights are sharded or npz; save the model as one file")
    member = members.get(WEIGHTS)
    if member is None:
        source.fail("zip directory", f"{WEIGHTS} is missing")
    stored_storage(source, member)  # so that it is a range of the archive
    check_crc(source, member)
    inner = source.part(member.offset, member.size, WEIGHTS)
    return inner, open_root(inner)


def _json(source: Source, members: dict[str, Member], name: str) -> dict[str, Any]:
    member = members.get(name)
    if member is None:
        return {}
    if member.size > source.limit:
        source.fail(f"zip member {quoted(name)}", f"{member.size} bytes are too many for it")
    source.spend(2 * member.size, name)
    content = parsed_json(source, b"".join(inflated(source, member)), name)
    if not isinstance(content, dict):
        source.fail(f"zip member {quoted(name)}", "is not a JSON object")
    return content
