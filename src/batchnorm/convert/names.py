"""What a layer's arrays are called in each framework, by rule.

The names of batch norm's state are those that the dialects declare. Between torch and MindSpore a
layer keeps its path. A Keras layer's path has slashes where a model is nested; a layer that comes
to Keras keeps its dotted path as its name. Not here: names that only a template knows (`match`).
"""

from __future__ import annotations

from collections.abc import Mapping

from batchnorm.convert.groups import BARE, CHANNELS_LAST, INNER, STATES, Group, separator
from batchnorm.frameworks.mindspore import layers as mindspore
from batchnorm.frameworks.torch import layers as torch

__all__ = ["KEPT", "array_name", "keras_class", "path_in", "roles_in"]

VOCABULARIES = {
    "torch": STATES["torch"],
    "mindspore": STATES["mindspore"],
    "keras": STATES["keras"],
    "tf_keras": STATES["keras"],
}
AFFINE: Mapping[str, Mapping[str, str]] = {
    "torch": {"gamma": "weight", "beta": "bias"},
    "mindspore": {"gamma": "gamma", "beta": "beta"},
    "keras": {"gamma": "gamma", "beta": "beta"},
}
# Roles that always exist: MindSpore saves gamma and beta of `affine=False` too, torch its counter.
KEPT: Mapping[str, tuple[str, ...]] = {
    "torch": tuple(e.role for e in torch.BatchNorm2d.STATE.values() if e.role == "count"),
    "mindspore": tuple(e.role for e in mindspore.BatchNorm2d.STATE.values()),
    "keras": (),
    "tf_keras": (),
}
CLASSES = {2: "Dense", 3: "Conv1D", 4: "Conv2D", 5: "Conv3D"}  # by the rank of the kernel


def roles_in(framework: str) -> list[str]:
    """The roles of a batch-norm layer's state, in the order in which the framework saves them."""
    return list(VOCABULARIES[framework].values())


def path_in(group: Group, framework: str) -> str:
    """The layer's path in another framework, by rule."""
    if framework not in CHANNELS_LAST:
        return group.path.replace("/", ".") if group.framework in CHANNELS_LAST else group.path
    if not group.path:  # a layer saved alone; in Keras every layer has a name
        return "batch_normalization" if group.kind == "batch_norm" else "layer"
    return group.path


def array_name(
    group: Group, role: str, framework: str, *, path: str | None = None, inner: str = ""
) -> str | None:
    """The name of the array of a role; None where the framework has no place for it.

    Args:
        group: the layer.
        role: which array.
        framework: the target's.
        path: the layer's path there; by rule if not given.
        inner: the inner layer that holds the state (MindSpore's BatchNorm3d).
    """
    path = path_in(group, framework) if path is None else path
    leaf: str | None
    if group.kind == "single":
        return path
    if group.kind == "batch_norm":
        alone = framework == "mindspore" and not path and not inner
        vocabulary = BARE if alone else VOCABULARIES[framework]
        leaf = next((name for name, its in vocabulary.items() if its == role), None)
        if leaf is None:
            return None
        if framework == "mindspore" and inner:
            leaf = f"{INNER}.{leaf}"
    elif group.kind == "scaling":
        leaf = role
    elif group.kind == "affine":
        leaf = AFFINE["keras" if framework in CHANNELS_LAST else framework][role]
    else:
        leaf = role if role == "bias" else _kernel_leaf(group.form, framework)
        if group.part and framework in CHANNELS_LAST:  # from one Keras to the other
            path = path.removesuffix(f"/{group.part}")
            leaf = role if role == "bias" else f"{group.part}_kernel"
    sep = separator(framework)
    return f"{path}{sep}{leaf}" if path else leaf


def _kernel_leaf(form: str, framework: str) -> str:
    if framework == "torch":
        return "weight"
    if framework == "mindspore":
        return "embedding_table" if form == "embedding" else "weight"
    if form == "embedding":
        return "embeddings"
    if form == "depthwise":
        return "kernel" if framework == "keras" else "depthwise_kernel"
    return "kernel"


def keras_class(group: Group) -> str:
    """The Keras class of a layer that comes without one."""
    if group.class_name:
        return group.class_name
    if group.kind == "batch_norm":
        return "BatchNormalization"
    if group.kind == "affine":
        return "LayerNormalization"
    if group.kind == "kernel":
        rank = len(group.members["weight"].shape)
        forms = {"embedding": "Embedding", "depthwise": f"DepthwiseConv{rank - 2}D"}
        name = forms.get(group.form, CLASSES.get(rank, ""))
        return f"{name}Transpose" if group.form == "conv_transpose" else name
    return ""
