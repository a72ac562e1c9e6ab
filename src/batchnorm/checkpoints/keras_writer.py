"""Write Keras weights without a template: `.weights.h5` (Keras 3 and tf_keras) and legacy `.h5`.

A `.weights.h5` names groups by class and position, so it needs each layer's class: from
`metadata["layers"]`, or from the file it came from. Facts: keras 3.15 and tf_keras 2.21
`saving_lib.py`, `legacy_h5_format.py`; both load what is written here (tests/checkpoints).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import IO, Any

from batchnorm.checkpoints.checkpoint import Entry, Extra
from batchnorm.checkpoints.hdf5_writer import NewGroup, write_tree
from batchnorm.checkpoints.keras_h5 import TOP
from batchnorm.checkpoints.keras_layers import snake_case
from batchnorm.checkpoints.package_entry import PACKAGE_ENTRY, entry_bytes
from batchnorm.checkpoints.source import quoted
from batchnorm.errors import CheckpointError

__all__ = ["write_legacy", "write_weights"]

VERSIONS = {"keras": "3.15.1", "tf_keras": "2.21.0"}  # those that the files were checked with
ORDER = (
    "depthwise_kernel", "pointwise_kernel", "kernel", "bias", "embeddings", "alpha", "gamma",
    "beta", "moving_mean", "moving_variance", "moving_stddev", "renorm_mean", "renorm_stddev",
)  # fmt: skip
MODEL_CLASS = "Functional"  # of a nested model that nothing is known of


def write_weights(
    out: IO[bytes],
    entries: Sequence[Entry],
    extras: Mapping[str, Extra],
    metadata: Mapping[str, Any],
    framework: str | None = None,
) -> None:
    """Write a `.weights.h5`; with `framework="tf_keras"` as Keras 2 does, else as Keras 3."""
    layers: Mapping[str, Any] = metadata.get("layers", {})
    root = NewGroup()
    root.at("vars")
    paths = _Paths(layers)
    recorded: dict[str, Any] = {}
    for prefix, members in _by_layer(entries).items():
        path = paths.of(prefix, needed=True)
        group = root.at(f"{path}/vars" if path else "vars")
        if framework != "tf_keras" and path:
            group.attributes["name"] = prefix.rpartition("/")[2]
            _name_parents(root, prefix, path)
        names = _ordered(prefix, list(members), layers.get(prefix, {}))
        for index, name in enumerate(names):
            group.add(str(index), members[name])
        recorded[prefix] = {**layers.get(prefix, {}), "path": path, "weights": names}
    kept = {k: v for k, v in metadata.items() if k != "keras"}
    kept["layers"] = {**layers, **recorded}  # the file itself has no weight names
    root.attributes[PACKAGE_ENTRY] = entry_bytes(kept, extras).decode()
    write_tree(out, root)


def _name_parents(root: NewGroup, prefix: str, path: str) -> None:
    """Give the models around a layer their names, where the path shows them."""
    while "/" in prefix and "/layers/" in path:
        prefix, path = prefix.rpartition("/")[0], path.rpartition("/layers/")[0]
        root.at(f"{path}/vars").attributes.setdefault("name", prefix.rpartition("/")[2])


class _Paths:
    """Group paths by layer: as recorded, else by class and position, as Keras counts them."""

    def __init__(self, layers: Mapping[str, Any]) -> None:
        self._layers = layers
        self._used: dict[str, int] = {}
        self._known: dict[str, str] = {}

    def of(self, prefix: str, *, needed: bool) -> str:
        """The path of the group whose `vars` hold the layer's arrays."""
        if prefix not in self._known:
            self._known[prefix] = self._new(prefix, needed=needed)
        return self._known[prefix]

    def _new(self, prefix: str, *, needed: bool) -> str:
        facts = self._layers.get(prefix, {})
        if "path" in facts:
            return str(facts["path"])
        if prefix in ("", "vars"):
            return ""
        class_name = facts.get("class_name", None if needed else MODEL_CLASS)
        if not isinstance(class_name, str):
            raise CheckpointError(
                f"layer {quoted(prefix)}: a .weights.h5 names layers by class, and this one's is "
                "not known; give a template (--like), or metadata['layers'][name]['class_name']"
            )
        parent, _, _ = prefix.rpartition("/")
        folder = f"{self.of(parent, needed=False)}/layers" if parent else "layers"
        stem = f"{folder}/{snake_case(class_name)}"
        count = self._used.get(stem, -1) + 1
        self._used[stem] = count
        return stem if count == 0 else f"{stem}_{count}"


def _by_layer(entries: Sequence[Entry]) -> dict[str, dict[str, Entry]]:
    """Entries by prefix and weight name."""
    layers: dict[str, dict[str, Entry]] = {}
    for entry in entries:
        prefix, slash, weight = entry.name.rpartition("/")
        if not slash or not prefix or not weight:
            raise CheckpointError(
                f"entry {quoted(entry.name)}: a Keras entry is called <layer>/<weight>, "
                "such as bn1/gamma"
            )
        layers.setdefault(prefix, {})[weight] = entry
    return layers


def _ordered(prefix: str, names: list[str], facts: Mapping[str, Any]) -> list[str]:
    """Weight names in the order of Keras's variables: recorded, known, or else as given."""
    recorded = facts.get("weights")
    if recorded is not None and set(recorded) != set(names):
        raise CheckpointError(
            f"layer {quoted(prefix)}: has {', '.join(map(quoted, names))}, and its metadata say "
            f"{', '.join(map(quoted, recorded))}; correct metadata['layers'], or give a template"
        )
    if recorded is not None:
        return list(recorded)
    if all(name.isdigit() for name in names):
        return sorted(names, key=int)
    return sorted(names, key=ORDER.index) if set(names) <= set(ORDER) else names


def write_legacy(
    out: IO[bytes],
    entries: Sequence[Entry],
    extras: Mapping[str, Extra],
    metadata: Mapping[str, Any],
    framework: str | None = None,
) -> None:
    """Write a legacy weights `.h5`; Keras loads layers by order, so it must be the model's."""
    layers: Mapping[str, Any] = metadata.get("layers", {})
    root, dialect = NewGroup(), framework if framework in VERSIONS else "tf_keras"
    names: dict[str, list[str]] = {}
    for prefix, members in _by_layer(entries).items():
        facts = layers.get(prefix, {})
        group = str(facts.get("group") or prefix.partition("/")[0])
        raw_names = facts.get("weight_names", [])
        for index, name in enumerate(_ordered(prefix, list(members), facts)):
            if len(raw_names) == len(members):
                raw = str(raw_names[index])
            else:
                inside = prefix.removeprefix(group + "/") if group != TOP else ""
                raw = f"{inside}/{name}".lstrip("/") + (":0" if dialect == "tf_keras" else "")
            names.setdefault(group, []).append(raw)
            root.add(f"{group}/{raw}", members[name])
    for group, raws in names.items():
        root.at(group).attributes["weight_names"] = raws
    root.attributes["layer_names"] = [group for group in names if group != TOP]
    root.attributes["backend"] = "tensorflow"
    root.attributes["keras_version"] = VERSIONS[dialect]
    own = entry_bytes({k: v for k, v in metadata.items() if k != "keras"}, extras)
    if own:
        root.attributes[PACKAGE_ENTRY] = own.decode()
    write_tree(out, root)
