"""The entries of a checkpoint as groups: which arrays belong to one layer, and which part each is.

A batch-norm layer is recognised by its state (a running mean and a running variance of one length
under one prefix), never by the letters of its name. The state's names are those that the dialects
declare (`Layer.STATE`); those of the layers around it are facts of torch 2.13, MindSpore 2.10,
tf_keras 2.21 and Keras 3.15, seen in files that they wrote. Not here: what a group is called in
another framework (`names`), and how its arrays lie in memory (`layout`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from batchnorm.checkpoints import Checkpoint, Entry
from batchnorm.convert.rooms import rooms, saved

__all__ = [
    "CHANNELS_LAST",
    "Group",
    "Kind",
    "Roles",
    "counted",
    "grouped",
    "incomplete",
    "separator",
    "still_counters",
]

Kind: TypeAlias = Literal["batch_norm", "kernel", "affine", "scaling", "single"]
Roles: TypeAlias = Mapping[str, str]

# Frameworks whose kernels have their outputs last, and which put slashes into names.
CHANNELS_LAST = tuple(r.framework for r in rooms() if saved(r.framework).CHANNELS_LAST)


# Leaf of a kernel -> what the layer is, where the leaf alone says it.
KERNELS: Mapping[str, str] = {
    "weight": "",
    "kernel": "",
    "depthwise_kernel": "depthwise",
    "pointwise_kernel": "pointwise",
    "embedding_table": "embedding",
    "embeddings": "embedding",
}
SCALING = ["mean", "variance", "count"]  # of Keras's Normalization, as its files order them
LONE = {
    "running_mean": "a running mean without its variance: part of a batch norm, as in one file "
    "of several",
    "running_var": "a running variance without its mean: part of a batch norm, as in one file "
    "of several",
}
NORMAL = ("BatchNormalization", "SyncBatchNormalization")


def separator(framework: str) -> str:
    """What stands between a layer's name and its array's: a slash in Keras, else a dot."""
    return str(saved(framework).SEPARATOR)


@dataclass
class Group:
    """The arrays of one layer.

    Attributes:
        framework: whose names they are.
        path: the layer's name, without the inner layer of MindSpore's BatchNorm3d.
        kind: batch_norm; kernel (a weight of rank 2 or more, perhaps with a bias); affine (a scale
            and a shift without statistics); scaling (the mean and variance by which Keras's
            Normalization scales an input); single (any other array).
        members: role -> entry. Roles of batch_norm and affine are the core's words, those of a
            kernel `weight` and `bias`, that of a single array `value`.
        form: what a kernel is where that is known: dense, conv, conv_transpose, depthwise,
            pointwise, embedding; for a normalization, its class.
        part: which half of a separable convolution this is; its path then ends in it.
        inner: "bn2d" for MindSpore's BatchNorm3d.
        bare: whether a MindSpore layer was saved alone, as `mean` and `variance`.
        facts: what the file says of the layer, see `Checkpoint.metadata["layers"]`.
        doubt: what the state alone can't tell; empty if nothing.
        placed: whether it stands among the others where the model has it; a part of a Keras layer
            that the config doesn't know, such as a class of the user's, is listed elsewhere.
    """

    framework: str
    path: str
    kind: Kind
    members: dict[str, Entry]
    form: str = ""
    part: str = ""
    inner: str = ""
    bare: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)
    doubt: str = ""
    placed: bool = True

    @property
    def channels(self) -> int:
        """C, of a batch-norm layer."""
        return self.members["running_mean"].shape[0]

    @property
    def class_name(self) -> str:
        """The layer's class where the file says it (Keras), else an empty text."""
        return str(self.facts.get("class_name", ""))

    @property
    def own_class(self) -> str:
        """The layer's class in its own framework: of a Keras file, a live or a pickled model."""
        return str(self.facts.get("class", self.class_name))

    @property
    def label(self) -> str:
        """The path, or a stand-in for the empty path of a layer that was saved alone."""
        return self.path or "(the layer itself)"

    def replaced(self, **members: Entry) -> Group:
        """The group with some members exchanged or added."""
        return dataclasses.replace(self, members={**self.members, **members})


def grouped(checkpoint: Checkpoint, framework: str) -> list[Group]:
    """The groups of a checkpoint, in the order of their first entries."""
    sep = separator(framework)
    layers: dict[str, dict[str, Entry]] = {}
    for name, entry in checkpoint.items():
        prefix, _, leaf = name.rpartition(sep)
        layers.setdefault(prefix, {})[leaf] = entry
    known = checkpoint.metadata.get("layers", {})
    groups: list[Group] = []
    for prefix, own in layers.items():
        facts = known.get(prefix, {})
        groups += _groups_of(framework, prefix, own, facts if isinstance(facts, Mapping) else {})
    return groups


def incomplete(groups: Iterable[Group]) -> list[str]:
    """Problems: running statistics that stand alone, as in one file of several."""
    return [f"{group.label}: {group.doubt}" for group in groups if group.doubt in LONE.values()]


def counted(entry: Entry) -> int | None:
    """How many batches an array says were counted; None where it holds no whole number."""
    value = entry.load()
    if value.size != 1 or value.dtype.kind in "cb":
        return None
    if value.dtype.kind in "iu":
        return int(value.item())
    number = float(value.item())  # older tools save it so
    return int(number) if number.is_integer() else None


def still_counters(groups: Iterable[Group]) -> list[Group]:
    """Batch norms whose statistics moved, although their counter says 0 batches.

    torch's InstanceNorm with tracked statistics never counts, and has the same arrays.
    """
    found = []
    for group in groups:
        count = group.members.get("count") if group.kind == "batch_norm" else None
        if count is None or counted(count) != 0:
            continue
        mean, var = (group.members[role].load() for role in ("running_mean", "running_var"))
        if var.size and (mean.any() or (var != 1).any()):
            found.append(group)
    return found


def _groups_of(
    framework: str, prefix: str, own: dict[str, Entry], facts: Mapping[str, Any]
) -> Iterable[Group]:
    """The groups under one prefix: at most one layer, and the arrays that are no part of it."""
    doubt = ""
    leaves = own
    if framework in CHANNELS_LAST and own and all(leaf.isdigit() for leaf in own):
        leaves, doubt = _named(own, str(facts.get("class_name", "")))
    left = dict(leaves)
    normal = _batch_norm(framework, prefix, left, facts)
    if normal is not None:
        normal.doubt = doubt
        yield normal
    separable = {"depthwise_kernel", "pointwise_kernel"} <= set(left)
    recurrent = "recurrent_kernel" in left  # an RNN's arrays: their order is the layer's own
    for leaf in KERNELS if not recurrent else ():
        if leaf in left and len(left[leaf].shape) >= 2:
            yield _kernel(framework, prefix, leaf, left, facts, separable=separable)
    if framework in CHANNELS_LAST and {"mean", "variance"} <= set(left) <= set(SCALING):
        scaling = {name: left.pop(name) for name in SCALING if name in left}
        yield Group(framework, prefix, "scaling", scaling, facts=facts)
    affine = _affine(framework, prefix, left, facts)
    if affine is not None:
        yield affine
    for leaf, entry in left.items():
        path = f"{prefix}{separator(framework)}{leaf}" if prefix else leaf
        role = next((r[leaf] for r in _vocabularies(framework) if leaf in r), "")
        lone = LONE.get(role, "") if len(entry.shape) == 1 else ""
        yield Group(framework, path, "single", {"value": entry}, facts=facts, doubt=lone)


def _vocabularies(framework: str) -> list[Roles]:
    """The framework's names of a state, then others': MindSpore's mint layers have torch's."""
    own = saved(framework).STATE
    return [own, *(saved(r.framework).STATE for r in rooms() if own != saved(r.framework).STATE)]


def _batch_norm(
    framework: str, prefix: str, left: dict[str, Entry], facts: Mapping[str, Any]
) -> Group | None:
    """The batch-norm layer whose state these entries hold; takes them out of `left`."""
    alone = [r for r in (saved(each.framework) for each in rooms()) if r.ALONE]
    lone = next((r for r in alone if not prefix and set(left) >= r.ALONE), None)
    bare = lone is not None
    for roles in _vocabularies(framework) if lone is None else [lone.BARE]:
        found = {role: left[name] for name, role in roles.items() if name in left}
        mean, var = found.get("running_mean"), found.get("running_var")
        if mean is None or var is None or len(mean.shape) != 1 or mean.shape != var.shape:
            continue
        members = {
            role: entry
            for role, entry in found.items()
            if entry.shape == (() if role == "count" else mean.shape)
        }
        for name, role in roles.items():
            if role in members:
                del left[name]
        path, inner = prefix, ""
        within = saved(framework).INNER
        if within and prefix.split(separator(framework))[-1] == within:
            path, inner = prefix.removesuffix(within).removesuffix("."), within
        form = str(facts.get("class_name", ""))
        return Group(
            framework, path, "batch_norm", members, form, inner=inner, bare=bare, facts=facts
        )
    return None


def _kernel(
    framework: str,
    prefix: str,
    leaf: str,
    left: dict[str, Entry],
    facts: Mapping[str, Any],
    *,
    separable: bool,
) -> Group:
    """A weight and, where it is the prefix's own, the bias; takes them out of `left`.

    A separable convolution is two layers elsewhere; its bias is the second's.
    """
    weight = left.pop(leaf)
    members = {"weight": weight}
    first = separable and leaf == "depthwise_kernel"
    if "bias" in left and len(left["bias"].shape) == 1 and not first:
        members["bias"] = left.pop("bias")
    form = str(
        facts.get("form") or _form(framework, leaf, members, str(facts.get("class_name", "")))
    )
    part = form if separable and form in ("depthwise", "pointwise") else ""
    path = f"{prefix}/{part}" if part else prefix
    return Group(framework, path, "kernel", members, form, part, facts=facts)


def _form(framework: str, leaf: str, members: Mapping[str, Entry], class_name: str) -> str:
    """What a kernel is, as far as its name, its layer's class or its bias tells."""
    forms: Mapping[str, str] = saved(framework).FORMS
    if KERNELS[leaf] or class_name in forms:
        return KERNELS[leaf] or forms[class_name]
    if framework in CHANNELS_LAST or "bias" not in members:
        return ""
    shape, outputs = members["weight"].shape, members["bias"].shape[0]
    if len(shape) > 2 and shape[0] != outputs == shape[1]:
        return "conv_transpose"
    return ""


def _affine(
    framework: str, prefix: str, left: dict[str, Entry], facts: Mapping[str, Any]
) -> Group | None:
    """A scale and a shift without statistics; takes them out of `left`."""
    for scale, shift in (("weight", "bias"), ("gamma", "beta")):
        if scale in left and shift in left and left[scale].shape == left[shift].shape:
            members = {"gamma": left.pop(scale), "beta": left.pop(shift)}
            form = str(facts.get("class_name", ""))
            return Group(framework, prefix, "affine", members, form, facts=facts)
    return None


def _named(own: dict[str, Entry], class_name: str) -> tuple[dict[str, Entry], str]:
    """Leaf names for the numbered variables of a `.weights.h5` without a config."""
    entries = [own[leaf] for leaf in sorted(own, key=int)]
    shapes = [entry.shape for entry in entries]
    vectors = all(len(shape) == 1 for shape in shapes) and len(set(shapes)) == 1
    names: list[str] = []
    doubt = ""
    if vectors and (len(entries) == 4 or class_name in NORMAL):
        statistics = ["moving_mean", "moving_variance"]
        names = [*["gamma", "beta"][: len(entries) - 2], *statistics][: len(entries)]
        if len(entries) == 3:
            names = ["beta", *statistics]
            doubt = "the file doesn't say whether the first of three arrays is gamma or beta"
    elif class_name == "Normalization" and len(entries) <= 3:
        names = SCALING[: len(entries)]
    elif class_name.startswith("Separable") and len(entries) in (2, 3):
        names = ["depthwise_kernel", "pointwise_kernel", "bias"][: len(entries)]
    elif vectors and len(entries) == 2:
        names = ["gamma", "beta"]
        if class_name not in ("LayerNormalization", "GroupNormalization"):
            doubt = "two numbered arrays of one length: gamma and beta, or a mean and a variance"
    elif len(shapes[0]) >= 2 and len(entries) <= 2 and all(len(s) == 1 for s in shapes[1:]):
        first = "embeddings" if class_name == "Embedding" else "kernel"
        names = [first, "bias"][: len(entries)]
    if len(names) != len(entries):
        return own, doubt
    return dict(zip(names, entries, strict=True)), doubt
