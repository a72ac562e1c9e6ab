"""How MindSpore's files name things: what its training cells and optimizers leave in a checkpoint.

Facts: MindSpore 2.10 (`nn/optim`, `mint/optim`, `nn/wrap`) and files that it wrote. Numbers of
`append_dict` have shape () and are told by that (`convert.source`).
"""

from __future__ import annotations

__all__ = ["COUNTERS", "COUNTLESS", "FORMS", "OBSERVERS", "OPTIMIZER", "OUTER", "SLOTS", "WRAPPERS"]

WRAPPERS: tuple[str, ...] = ()
OUTER = ("model", "network", "_backbone", "_network")
COUNTERS = (  # patterns
    "global_step", r"learning_rate(_\w+)?", r"weight_decay(_\w+)?", "beta1_power",
    "beta2_power", "current_iterator_step", "last_overflow_iterator_step", "scale_sense",
    "graceful_exit", "graceful_init", "epoch_num", "step_num",
)  # fmt: skip
OBSERVERS = (r"(\w+_)?fake_quant(_\w+)?",)
OPTIMIZER = ("optimizer", "optimizer_weights", "metrics", "loss")
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
COUNTLESS: tuple[str, ...] = ()
