"""Keras's HDF5 files read: legacy `.h5` (by layer name) and `.weights.h5` (by class and position).

Entries are `<layer>/<weight>`, nested models in front: `backbone/bn1/gamma`; where a `.weights.h5`
comes without config the weight is its index: `bn1/0`. `metadata["layers"]` says what is known of
each layer (see `keras_layers`). Facts: users.md 5.2, 5.3; files of keras 3.15 and tf_keras 2.21.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from batchnorm.checkpoints.bounded_json import parsed_json
from batchnorm.checkpoints.checkpoint import Checkpoint, Entry, Extra, collected
from batchnorm.checkpoints.hdf5_data import dataset_layout
from batchnorm.checkpoints.hdf5_objects import Group, Object, open_root
from batchnorm.checkpoints.keras_layers import (
    ConfigLayer,
    config_layers,
    guessed_class,
    weight_names,
)
from batchnorm.checkpoints.keras_steps import config_steps
from batchnorm.checkpoints.package_entry import PACKAGE_ENTRY, merged, parsed_entry
from batchnorm.checkpoints.source import ENTRY_COST, Source, checked_name, quoted
from batchnorm.checkpoints.steps import Step

__all__ = ["TOP", "legacy_entries", "legacy_name", "read", "texts_of", "weights_checkpoint"]

TOP = "top_level_model_weights"
OPTIMIZER = "optimizer_weights"
Layers = dict[str, dict[str, Any]]


def read(source: Source) -> Checkpoint:
    """The arrays of a Keras HDF5 file of either form."""
    root = open_root(source)
    weights = root.group("model_weights") or root
    if _has_texts(weights, "layer_names"):
        return _read_legacy(source, root, weights)
    if any(isinstance(o, Group) and o.path.rpartition("/")[2] == "vars" for o in root.walk()):
        return weights_checkpoint(source, root, None, None)
    return source.fail(
        "root", "is HDF5, but neither a Keras model nor Keras weights; only those can be read"
    )


def _has_texts(group: Object, name: str) -> bool:
    return name in group.attributes or f"{name}0" in group.attributes


def texts_of(group: Object, name: str) -> list[str]:
    """A list of texts, which Keras cuts into `name0`, `name1`, … when it is long."""
    if name in group.attributes:
        return group.attributes[name].texts()
    found: list[str] = []
    index = 0
    while f"{name}{index}" in group.attributes:
        found += group.attributes[f"{name}{index}"].texts()
        index += 1
    return found


def _version(*groups: Object) -> str | None:
    for group in groups:
        if "keras_version" in group.attributes:
            return group.attributes["keras_version"].text()
    return None


def _framework(version: str | None) -> str | None:
    if version is None:
        return None
    return "keras" if version.startswith("3") else "tf_keras"


def own_of(source: Source, root: Group) -> tuple[dict[str, Any], dict[str, Extra]]:
    """Our own entry, an attribute of the root."""
    text = root.attributes[PACKAGE_ENTRY].text() if PACKAGE_ENTRY in root.attributes else ""
    return parsed_entry(source, text.encode())


# Legacy .h5


def _read_legacy(source: Source, root: Group, weights: Group) -> Checkpoint:
    version = _version(weights, root)
    configs: list[ConfigLayer] = []
    steps: tuple[Step, ...] = ()
    if "model_config" in root.attributes:
        text = root.attributes["model_config"].text().encode()
        config = parsed_json(source, text, "model_config")
        configs = config_layers(source, config, "model_config")
        steps = config_steps(source, config, "model_config")
    entries: list[Entry] = []
    layers: Layers = {}
    for group, raw, name, dataset in legacy_entries(source, root, weights):
        entries.append(_entry(source, name, dataset))
        if group == OPTIMIZER:
            continue
        prefix, _, weight = name.rpartition("/")
        facts = layers.setdefault(prefix, {"group": group, "weights": [], "weight_names": []})
        facts["weights"].append(weight)
        facts["weight_names"].append(raw)
    known = _Configs(configs)
    for prefix, facts in layers.items():
        _describe(facts, known.find(tuple(prefix.split("/"))))
    metadata, extras = own_of(source, root)
    metadata["layers"] = merged(metadata.get("layers", {}), layers)
    metadata["keras"] = {"version": version, "whole_model": bool(configs)}
    return Checkpoint(
        entries=collected(source, entries),
        format="keras-h5",
        framework=_framework(version or "1"),
        metadata=metadata,
        extras=extras,
        path=source.path,
        source=source,
        steps=steps,
    )


def legacy_entries(
    source: Source, root: Group, weights: Group
) -> Iterator[tuple[str, str, str, Object]]:
    """(group, weight name in the file, entry name, dataset) of every array, in the file's order."""
    names = texts_of(weights, "layer_names")
    if TOP in weights.members:
        names = [*names, TOP]
    for layer in names:
        group = weights.find(layer)
        if not isinstance(group, Group):
            source.fail(f"layer {quoted(layer)}", "is listed and missing")
        yield from _group_entries(source, group, layer)
    optimizer = root.group(OPTIMIZER)
    if optimizer is not None:
        yield from _group_entries(source, optimizer, OPTIMIZER)


def _group_entries(
    source: Source, group: Group, layer: str
) -> Iterator[tuple[str, str, str, Object]]:
    raw_names = texts_of(group, "weight_names")
    names = [legacy_name(layer, raw) for raw in raw_names]
    if len(set(names)) != len(names):
        names = [f"{layer}/{raw}" for raw in raw_names]
    for raw, name in zip(raw_names, names, strict=True):
        dataset = group.find(raw)
        if dataset is None or isinstance(dataset, Group):
            source.fail(f"weight {quoted(raw)} of layer {quoted(layer)}", "is listed and missing")
        yield layer, raw, name, dataset


def legacy_name(layer: str, raw: str) -> str:
    """Entry name of a weight: `bn1/gamma:0` in group `bn1` is `bn1/gamma`.

    What comes before the layer's own name is dropped (`model/bn1/gamma:0`); where the name does
    not occur, as in a nested model, the group's name comes in front.
    """
    name = re.sub(r":0$", "", raw)
    at = f"/{name}".find(f"/{layer}/")
    return name[at:] if at >= 0 else f"{layer}/{name}"


class _Configs:
    """The layers of a model's config, to be found by the names in the file."""

    def __init__(self, configs: list[ConfigLayer]) -> None:
        self._exact: dict[tuple[str, ...], list[ConfigLayer]] = {}
        self._loose: dict[tuple[str, str], list[ConfigLayer]] = {}
        self._by_path = {c.path: c for c in configs}
        for config in configs:
            names = config.names
            self._exact.setdefault(names, []).append(config)
            self._loose.setdefault((names[0], names[-1]), []).append(config)

    def find(self, prefix: tuple[str, ...]) -> ConfigLayer | None:
        """The layer of that name path; else the only one with its first and last name."""
        matches = self._exact.get(prefix) or self._loose.get((prefix[0], prefix[-1]), [])
        if len(matches) != 1:
            return None
        # A wrapper's variables are those of the layer inside, under the wrapper's name.
        return self._by_path.get(f"{matches[0].path}/layer", matches[0])


def _describe(facts: dict[str, Any], config: ConfigLayer | None) -> None:
    if config is not None:
        facts["class_name"], facts["config"] = config.class_name, config.config


def _entry(source: Source, name: str, dataset: Object) -> Entry:
    source.spend(ENTRY_COST, f"entry {quoted(name)}")
    return Entry(checked_name(source, name), dataset_layout(source, dataset))


# .weights.h5


def weights_checkpoint(source: Source, root: Group, config: Any, version: str | None) -> Checkpoint:
    """The arrays below every `vars` group, named by attribute, config or path, in that order."""
    owners = {
        group.path.rpartition("vars")[0].rstrip("/"): group
        for group in root.walk()
        if isinstance(group, Group) and group.path.rpartition("/")[2] == "vars"
    }
    configs = config_layers(source, config, "config.json") if config is not None else []
    by_path = {c.path: c for c in configs}
    named = any("name" in group.attributes for group in owners.values())
    keras = 3 if named or (version or "").startswith("3") else 2
    metadata, extras = own_of(source, root)
    recorded = metadata.get("layers", {})
    ours = {facts["path"]: name for name, facts in recorded.items() if "path" in facts}
    known = [c.path for c in configs] or ours
    order = {path: i for i, path in enumerate(known)}
    paths = sorted(owners, key=lambda p: (order.get(p, len(order)), _natural(p)))
    prefixes = _prefixes(owners, {c.path: "/".join(c.names) for c in configs} or ours, paths)
    entries: list[Entry] = []
    layers: Layers = {}
    for path in paths:
        group, prefix = owners[path], prefixes[path]
        variables = sorted(group.members, key=_natural)
        if not variables:
            continue
        facts: dict[str, Any] = {"path": path}
        _describe(facts, by_path.get(path))
        guess = guessed_class(path) if path.rpartition("/")[0] not in owners else None
        if "class_name" not in facts and guess:
            facts["class_name"] = guess
        names = _weights(facts, recorded.get(prefix), variables, keras)
        facts["weights"] = names
        layers[prefix] = facts
        for variable, weight in zip(variables, names, strict=True):
            member = group.members[variable]
            if isinstance(member, Group):
                source.fail(f"group {quoted(member.path)}", "lies where an array should")
            entries.append(_entry(source, f"{prefix}/{weight}", member))
    metadata["layers"] = merged(recorded, layers)
    metadata["keras"] = {"version": version}
    framework = _framework(version) or ("keras" if named else None)
    return Checkpoint(
        entries=collected(source, entries),
        format="keras-weights",
        framework=framework,
        metadata=metadata,
        extras=extras,
        path=source.path,
        source=source,
        steps=() if config is None else config_steps(source, config, "config.json"),
    )


def _weights(facts: dict[str, Any], recorded: Any, variables: list[str], keras: int) -> list[str]:
    """Weight names: by class and config, else as our own entry recorded them, else the indices."""
    names: list[str] = []
    if "config" in facts:
        names = weight_names(facts["class_name"], facts["config"], len(variables), keras)
    elif isinstance(recorded, dict):
        known = recorded.get("weights")
        if isinstance(known, list) and len(known) == len(variables):
            names = [str(name) for name in known]
            facts.update({k: v for k, v in recorded.items() if k in ("class_name", "config")})
    return names if len(set(names)) == len(variables) else variables


def _prefixes(owners: dict[str, Group], told: dict[str, str], paths: list[str]) -> dict[str, str]:
    """Entry prefix by path. Two layers of one name keep their paths instead."""
    found: dict[str, str] = {}
    for path in paths:
        parts, names = path.split("/"), []
        if path in told:
            names = [told[path]]
        elif path:
            for end in range(1, len(parts) + 1):
                owner = owners.get("/".join(parts[:end]))
                if owner is not None:  # a container such as `layers` has no variables of its own
                    name = owner.attributes["name"].text() if "name" in owner.attributes else ""
                    names.append(name or parts[end - 1])
        if parts[0] in ("optimizer", "metrics", "loss"):
            names = parts
        found[path] = "/".join(names) or "vars"
    count = Counter(found.values())
    return {path: path if count[p] > 1 and path else p for path, p in found.items()}


def _natural(text: str) -> list[tuple[int, str]]:
    """Sort key under which 10 comes after 9."""
    return [
        (int(part), "") if part.isdigit() and len(part) < 18 else (-1, part)
        for part in re.split(r"(\d+)", text)
    ]
