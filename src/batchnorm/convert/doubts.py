"""What a checkpoint can't tell about a layer whose target's name is given by rule.

Such a layer is carried under its own name and reported as ambiguous; a template or a `kind` in the
map settles it. Not here: Flatten before Dense (`flatten`).
"""

from __future__ import annotations

from batchnorm.convert.groups import CHANNELS_LAST, Group
from batchnorm.convert.layout import canonical

__all__ = ["leftover", "unclear"]

_SCALING = "mean and variance by which a Normalization layer scales the input"
SETTLE = "settle it with --like, or with kind in the map"


def unclear(group: Group, framework: str) -> str:
    """The candidates among which the state can't choose; empty if there is no doubt."""
    doubt = ""
    if group.framework == "torch":
        doubt = _of_torch(group, framework)
    elif group.framework == "mindspore":
        doubt = _of_mindspore(group)
    elif framework not in CHANNELS_LAST:
        doubt = _of_keras(group)
    return f"{doubt}: {SETTLE}" if doubt else ""


def leftover(group: Group) -> str:
    """The way out for a layer that other models often don't have; empty for other layers."""
    if group.kind != "scaling":
        return ""
    return (
        f"the {_SCALING}; scale it yourself, (x - mean) / sqrt(variance), and leave the layer out "
        f'("{group.path}" = "" in the map)'
    )


def _of_keras(group: Group) -> str:
    """The names of a Keras layer's arrays say what they are, if it is a known layer."""
    if group.kind == "single":
        owner = f"a {group.class_name}" if group.class_name else "a layer that is not known here"
        return f"an array of {owner}, carried as it is"
    if group.kind == "scaling":
        return f"the {_SCALING}, which no layer of the target does: carried as they are"
    if group.kind != "kernel" or group.part:
        return ""
    if group.class_name and not group.form:
        return f"the kernel of a {group.class_name}, transposed as a convolution's would be"
    shape = group.members["weight"].shape
    if not group.form and len(shape) > 2 and shape[-1] == 1 != shape[-2]:
        return "Conv2D with one output, or DepthwiseConv2D"
    return ""


def _of_mindspore(group: Group) -> str:
    """MindSpore's one-dimensional convolutions have kernels with four dimensions."""
    shape = group.members["weight"].shape if group.kind == "kernel" else ()
    if len(shape) == 4 and shape[2] == 1 != shape[3]:
        return 'Conv1d (say kind = "conv_1d"), or Conv2d with a kernel of height 1 ("conv")'
    return ""


def _of_torch(group: Group, framework: str) -> str:
    """torch calls every weight `weight`; MindSpore and Keras don't."""
    if group.kind == "affine":
        return "LayerNorm, GroupNorm, InstanceNorm or a batch norm that doesn't track"
    if group.kind == "single" and group.path.rpartition(".")[2] == "weight":
        return "PReLU, or a normalization without shift"
    if group.kind != "kernel" or group.form:
        return ""
    shape = canonical(group, "weight")
    if len(shape) == 2 and "bias" not in group.members:
        return "a dense layer without bias, or an embedding"
    if len(shape) > 2 and shape[1] == 1 != shape[0] and framework in CHANNELS_LAST:
        return "written for Conv2D with groups; DepthwiseConv2D has another layout"
    return ""
