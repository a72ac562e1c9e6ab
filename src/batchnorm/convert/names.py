"""What a layer's arrays are called in each framework, by rule.

The names of batch norm's state are those that the dialects declare. Between torch and MindSpore a
layer keeps its path. A Keras layer's path has slashes where a model is nested; a layer that comes
to Keras keeps its dotted path as its name. Not here: names that only a template knows (`match`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from batchnorm.checkpoints import Entry
from batchnorm.convert.groups import CHANNELS_LAST, Group, separator
from batchnorm.convert.rooms import saved

__all__ = ["array_name", "keras_class", "named_twice", "path_in", "roles_in"]

CLASSES = {2: "Dense", 3: "Conv1D", 4: "Conv2D", 5: "Conv3D"}  # by the rank of the kernel


def roles_in(framework: str) -> list[str]:
    """The roles of a batch-norm layer's state, in the order in which the framework saves them."""
    return list(saved(framework).STATE.values())


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
    room = saved(framework)
    leaf: str | None
    if group.kind == "single":
        return path
    if group.kind == "batch_norm":
        vocabulary = room.BARE if room.BARE and not path and not inner else room.STATE
        leaf = next((name for name, its in vocabulary.items() if its == role), None)
        if leaf is None:
            return None
        if inner:
            leaf = f"{inner}.{leaf}"
    elif group.kind == "scaling":
        leaf = role
    elif group.kind == "affine":
        leaf = room.AFFINE[role]
    else:
        leaf = role if role == "bias" else room.kernel_leaf(group.form)
        if group.part and framework in CHANNELS_LAST:  # from one Keras to the other
            path = path.removesuffix(f"/{group.part}")
            leaf = role if role == "bias" else f"{group.part}_kernel"
    sep = separator(framework)
    return f"{path}{sep}{leaf}" if path else leaf


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


def named_twice(entries: Sequence[Entry]) -> list[str]:
    """Problems: names that two arrays of the target would have."""
    counts = Counter(entry.name for entry in entries)
    return [
        f"{count} arrays would be called {name!r}; give them names of their own (--map)"
        for name, count in counts.items()
        if count > 1
    ]
