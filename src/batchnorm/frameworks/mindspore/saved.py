"""How MindSpore's files name things: what its training cells and optimizers leave in a checkpoint.

Facts: MindSpore 2.10 (`nn/optim`, `mint/optim`, `nn/wrap`) and files that it wrote. Numbers of
`append_dict` have shape () and are told by that (`convert.source`).
"""

from __future__ import annotations

from typing import Any

from batchnorm.frameworks.mindspore.layers import BatchNorm2d

__all__ = [
    "AFFINE", "ALONE", "BARE", "COUNTERS", "FORMATS", "FORMS", "INNER", "KEPT", "OBSERVERS",
    "OUTER", "SCALARS", "SIGNS", "SLOTS", "STATE", "WIDE", "doubt", "kernel_leaf",
]  # fmt: skip

OUTER = ("model", "network", "_backbone", "_network")
COUNTERS = (  # patterns
    "global_step", r"learning_rate(_\w+)?", r"weight_decay(_\w+)?", "beta1_power",
    "beta2_power", "current_iterator_step", "last_overflow_iterator_step", "scale_sense",
    "graceful_exit", "graceful_init", "epoch_num", "step_num",
)  # fmt: skip
OBSERVERS = (r"(\w+_)?fake_quant(_\w+)?",)
# What optimizers call their copies: a parameter's name with this in front.
SLOTS = (
    "accu_grads", "accum", "accum_update", "adam_m", "adam_v", "ax", "ax_", "exp_avg", "exp_avg_sq",
    "exp_inf", "lamb_m", "lamb_v", "linear", "max_exp_avg_sq", "mean_grad", "mean_square", "moment",
    "moment1", "moment2", "momentum_buf", "moments", "prev", "stat", "step_size", "vhat",
)  # fmt: skip
# What a class says of its kernel; where a live model tells the class.
FORMS = {
    "Dense": "dense",
    "Embedding": "embedding",
    "Conv1d": "conv_1d",
    **{f"Conv{n}d": "conv" for n in (2, 3)},
    **{f"Conv{n}dTranspose": "conv_transpose" for n in (1, 2, 3)},
}

# Names of a batch norm's state, and the role of each; alone, a layer has others.
STATE = {name: entry.role for name, entry in BatchNorm2d.STATE.items()}
BARE = {entry.bare_name or name: entry.role for name, entry in BatchNorm2d.STATE.items()}
INNER = "bn2d"  # BatchNorm3d keeps its state in a BatchNorm2d of this name
AFFINE = {"gamma": "gamma", "beta": "beta"}  # of normalizations without statistics
# Roles that a file always has: gamma and beta of `affine=False`, too.
KEPT = tuple(STATE.values())
WIDE = True  # whether kernels of one-dimensional convolutions have a height of 1
SCALARS = True  # whether arrays of shape () at the top are a trainer's numbers
FORMATS = ("mindspore",)
# Ends of names that only these files have, and names of a layer alone.
SIGNS = (".moving_mean", ".moving_variance", ".embedding_table")
ALONE = frozenset({"mean", "variance"})


def kernel_leaf(form: str) -> str:
    """What the kernel of a layer of a form is called."""
    return "embedding_table" if form == "embedding" else "weight"


def doubt(layer: Any, channels_last: bool) -> str:
    """What the arrays of a layer (`convert.groups.Group`) may be of, where names don't tell.

    `channels_last` says whether the target's kernels have their outputs last.
    """
    shape: tuple[int, ...] = layer.members["weight"].shape if layer.kind == "kernel" else ()
    if len(shape) == 4 and shape[2] == 1 != shape[3]:  # one-dimensional ones have a height
        return 'Conv1d (say kind = "conv_1d"), or Conv2d with a kernel of height 1 ("conv")'
    return ""
