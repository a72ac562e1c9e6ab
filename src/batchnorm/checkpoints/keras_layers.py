"""Which layer a Keras array belongs to: names, classes and weight names from `config.json`.

A Keras weights file names groups by class and position (`layers/batch_normalization_1`), not by
layer; the layer's name is in an attribute (Keras 3) or in the model's config (both). The config is
data: no object is built from it. Facts: keras 3.15 and tf_keras 2.21 `saving_lib.py`
(`_save_state`, `_save_container_state`), and files of both (tests/data/checkpoints).

`metadata["layers"]` of a Keras checkpoint, by the prefix of the layer's entries:
`{"class_name": "BatchNormalization", "config": {"epsilon": …, "momentum": …, "axis": …, …},
"path": "layers/batch_normalization_1", "weights": ["gamma", "beta", …]}`; the first two only where
the file says them. A legacy `.h5` has `"group"` and `"weight_names"`, the names in the file, and no
path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from batchnorm.checkpoints.source import LONGEST_NAME, Source

__all__ = [
    "KNOWN",
    "ConfigLayer",
    "config_layers",
    "guessed_class",
    "snake_case",
    "weight_names",
]

DEEPEST = 32
# Classes whose variables are named here; a group's name tells the class where it is one of them.
KERNEL = (
    "Dense", "Conv1D", "Conv2D", "Conv3D", "Conv1DTranspose", "Conv2DTranspose",
    "Conv3DTranspose",
)  # fmt: skip
DEPTHWISE = ("DepthwiseConv1D", "DepthwiseConv2D")
SEPARABLE = ("SeparableConv1D", "SeparableConv2D")
NORMAL = ("BatchNormalization", "SyncBatchNormalization")
KNOWN = (
    *KERNEL, *DEPTHWISE, *SEPARABLE, *NORMAL, "Embedding", "GroupNormalization",
    "LayerNormalization", "Normalization", "PReLU",
)  # fmt: skip
SETTINGS = 64  # plain values kept of a layer's config


@dataclass(frozen=True)
class ConfigLayer:
    """One layer of a model's config: its names from the model inwards, and its group's path."""

    names: tuple[str, ...]
    path: str
    class_name: str
    config: dict[str, Any]


def snake_case(class_name: str) -> str:
    """The group name that Keras makes of a class name."""
    text = re.sub(r"\W+", "", class_name)
    text = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", text)
    text = re.sub("([a-z])([A-Z])", r"\1_\2", text).lower()
    return "private" + text if text.startswith("_") else text


def guessed_class(path: str) -> str | None:
    """The class that a container's group name stands for, where it is a known one."""
    folder, _, group = path.rpartition("/")
    if not folder:
        return None  # an attribute of a subclassed model: the name is anybody's
    stem = re.sub(r"_\d+$", "", group)
    return next((name for name in KNOWN if snake_case(name) == stem), None)


def config_layers(source: Source, config: Any, place: str) -> list[ConfigLayer]:
    """The layers of a model's config in order, nested models and wrapped layers included."""
    found: list[ConfigLayer] = []
    _collect(source, config, (), "", found, place)
    return found


def _collect(
    source: Source,
    model: Any,
    names: tuple[str, ...],
    path: str,
    found: list[ConfigLayer],
    place: str,
) -> None:
    """Add what is inside a layer or model whose group is `path`."""
    if len(names) > DEEPEST:
        source.fail(place, f"models nested more than {DEEPEST} deep")
    settings = model.get("config") if isinstance(model, dict) else None
    listed = settings.get("layers") if isinstance(settings, dict) else settings
    if isinstance(listed, list):  # Keras 1 and early 2: a Sequential's config was the list
        used: dict[str, int] = {}
        for layer in listed:
            _add(source, layer, names, f"{path}/layers" if path else "layers", used, found, place)
    elif isinstance(settings, dict):
        for key, inner in settings.items():  # a wrapper keeps its layer under its attribute's name
            if key != "dtype" and _is_layer(inner):  # a DTypePolicy has a name, too
                inside = f"{path}/{key}" if path else key
                _append(source, inner, names, inside, found, place)


def _is_layer(value: Any) -> bool:
    config = value.get("config") if isinstance(value, dict) else None
    named = isinstance(config, dict) and isinstance(config.get("name"), str)
    return named and isinstance(value.get("class_name"), str)


def _add(
    source: Source,
    layer: Any,
    names: tuple[str, ...],
    folder: str,
    used: dict[str, int],
    found: list[ConfigLayer],
    place: str,
) -> None:
    """Add a layer of a container; the second of a class gets `_1`, and so on."""
    class_name = layer.get("class_name") if isinstance(layer, dict) else None
    if not isinstance(class_name, str):
        source.fail(place, "lists a layer without class")
    stem = snake_case(class_name.rpartition(">")[2])
    count = used.get(stem, -1) + 1
    used[stem] = count
    group = stem if count == 0 else f"{stem}_{count}"
    _append(source, layer, names, f"{folder}/{group}", found, place)


def _append(
    source: Source,
    layer: dict[str, Any],
    names: tuple[str, ...],
    path: str,
    found: list[ConfigLayer],
    place: str,
) -> None:
    source.spend(1024, place)
    if len(path) + sum(map(len, names)) > LONGEST_NAME:  # each layer below would repeat it
        source.fail(place, f"a layer under a name of {len(path)} characters")
    config = layer.get("config")
    plain = config if isinstance(config, dict) else {}
    name = plain.get("name", layer.get("name"))
    if not isinstance(name, str):
        name = path.rpartition("/")[2]
    class_name = str(layer["class_name"]).rpartition(">")[2]
    settings = dict(_plain_settings(plain))
    found.append(ConfigLayer((*names, name), path, class_name, settings))
    _collect(source, layer, (*names, name), path, found, place)


def _plain_settings(config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The settings that are plain values or lists of them; initializers and the like are left."""
    for key, value in list(config.items())[:SETTINGS]:
        items = value if isinstance(value, list) else [value]
        if len(items) <= 16 and all(isinstance(v, bool | int | float | str | None) for v in items):
            yield key, value
        elif key == "dtype" and isinstance(value, dict) and isinstance(value.get("config"), dict):
            yield key, value["config"].get("name")  # Keras 3's DTypePolicy


def weight_names(class_name: str, config: dict[str, Any], count: int, keras: int) -> list[str]:
    """Names of a layer's variables in the order of its group; empty where they aren't certain.

    Args:
        class_name: the layer's class.
        config: its config.
        count: how many variables the group holds.
        keras: 2 or 3; they name a depthwise kernel differently.
    """
    bias = ["bias"] if config.get("use_bias", True) else []
    names: list[str] = []
    if class_name in NORMAL and "scale" in config and "center" in config:
        names = [*(["gamma"] if config["scale"] else []), *(["beta"] if config["center"] else [])]
        names += ["moving_mean", "moving_variance"]
        if config.get("renorm"):
            names += ["moving_stddev", "renorm_mean", "renorm_stddev"]
    elif class_name in KERNEL:
        names = ["kernel", *bias]
    elif class_name in DEPTHWISE:
        names = ["kernel" if keras == 3 else "depthwise_kernel", *bias]
    elif class_name in SEPARABLE:
        names = ["depthwise_kernel", "pointwise_kernel", *bias]
    elif class_name == "Embedding":
        names = ["embeddings"]
    elif class_name == "PReLU":
        names = ["alpha"]
    elif class_name == "Normalization":
        names = ["mean", "variance", "count"]
    elif class_name in ("LayerNormalization", "GroupNormalization"):
        names = [*(["gamma"] if config.get("scale") else [])]
        names += ["beta"] if config.get("center") else []
    return names if len(names) == count else []
