"""How torch's files name things: wrappers, what trainers and quantization leave beside the weights.

Facts: torch 2.13 (`nn/parallel`, `_dynamo/eval_frame.py`, `optim/swa_utils.py`, `ao/quantization`)
and files that it wrote; `steps` is mmengine's, `num_updates` and `decay` those of usual averages.
"""

from __future__ import annotations

from typing import Any

from batchnorm.frameworks.torch.layers import BatchNorm2d

__all__ = [
    "AFFINE", "COUNTERS", "COUNTLESS", "CUMULATIVE", "FORMATS", "FORMS", "KEPT", "OBSERVERS",
    "OUTER", "PAIRED", "SIGNS", "STATE", "WRAPPERS", "doubt", "kernel_leaf",
]  # fmt: skip

# Modules that hold one other and add a word to every name; they can stand anywhere.
WRAPPERS = ("module", "_orig_mod")
# Attributes under which a trainer keeps its net: only before all names.
OUTER = ("model", "network")
# Patterns of names at the top that are a trainer's: numbers, or a list of them.
COUNTERS = ("n_averaged", "steps", "step", "num_updates", "decay", "global_step", "initted")
# Patterns of a name's parts that only observers of a quantization have.
OBSERVERS = (r"(\w+_)?fake_quant", r"(\w+_)?activation_post_process(_\d+)?")
# What a class says of its kernel; where a file or a live model tells the class.
FORMS = {
    "Linear": "dense",
    "Embedding": "embedding",
    **{f"Conv{n}d": "conv" for n in (1, 2, 3)},
    **{f"ConvTranspose{n}d": "conv_transpose" for n in (1, 2, 3)},
}
# Classes with a batch norm's arrays that are none: their counter stays 0.
COUNTLESS = tuple(f"{lazy}InstanceNorm{n}d" for lazy in ("", "Lazy") for n in (1, 2, 3))

# Names of a batch norm's state, and the role of each.
STATE = {name: entry.role for name, entry in BatchNorm2d.STATE.items()}
AFFINE = {"gamma": "weight", "beta": "bias"}  # of normalizations without statistics
# Roles that a file always has: here the counter. Gamma and beta are there both or neither.
KEPT = tuple(role for role in STATE.values() if role == "count")
PAIRED = True
CUMULATIVE = True  # whether momentum None is the average over all batches
FORMATS = ("torch",)
# Ends of names that only these files have, and sets of names of a layer alone.
SIGNS = (".running_mean", ".running_var", ".num_batches_tracked")


def kernel_leaf(form: str) -> str:
    """What the kernel of a layer of a form is called."""
    return "weight"


def doubt(layer: Any, channels_last: bool) -> str:
    """What the arrays of a layer (`convert.groups.Group`) may be of, where names don't tell.

    `channels_last` says whether the target's kernels have their outputs last.
    """
    if layer.kind == "affine":
        return "LayerNorm, GroupNorm, InstanceNorm or a batch norm that doesn't track"
    if layer.kind == "single" and layer.path.rpartition(".")[2] == "weight":
        return "PReLU, or a normalization without shift"
    if layer.kind != "kernel" or layer.form:
        return ""
    shape = layer.members["weight"].shape
    if len(shape) == 2 and "bias" not in layer.members:
        return "a dense layer without bias, or an embedding"
    if len(shape) > 2 and shape[1] == 1 != shape[0] and channels_last:
        return "written for Conv2D with groups; DepthwiseConv2D has another layout"
    return ""
