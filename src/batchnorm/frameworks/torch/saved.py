"""How torch's files name things: wrappers, what trainers and quantization leave beside the weights.

Facts: torch 2.13 (`nn/parallel`, `_dynamo/eval_frame.py`, `optim/swa_utils.py`, `ao/quantization`)
and files that it wrote; `steps` is mmengine's, `num_updates` and `decay` those of usual averages.
"""

from __future__ import annotations

__all__ = ["COUNTERS", "COUNTLESS", "FORMS", "OBSERVERS", "OPTIMIZER", "OUTER", "SLOTS", "WRAPPERS"]

# Modules that hold one other and add a word to every name; they can stand anywhere.
WRAPPERS = ("module", "_orig_mod")
# Attributes under which a trainer keeps its net: only before all names.
OUTER = ("model", "network")
# Patterns of names at the top that are a trainer's: numbers, or a list of them.
COUNTERS = ("n_averaged", "steps", "step", "num_updates", "decay", "global_step", "initted")
# Patterns of a name's parts that only observers of a quantization have.
OBSERVERS = (r"(\w+_)?fake_quant", r"(\w+_)?activation_post_process(_\d+)?")
OPTIMIZER = ("optimizer", "optimizer_weights", "metrics", "loss")
SLOTS: tuple[str, ...] = ()
# What a class says of its kernel; where a file or a live model tells the class.
FORMS = {
    "Linear": "dense",
    "Embedding": "embedding",
    **{f"Conv{n}d": "conv" for n in (1, 2, 3)},
    **{f"ConvTranspose{n}d": "conv_transpose" for n in (1, 2, 3)},
}
# Classes with a batch norm's arrays that are none: their counter stays 0.
COUNTLESS = tuple(f"{lazy}InstanceNorm{n}d" for lazy in ("", "Lazy") for n in (1, 2, 3))
