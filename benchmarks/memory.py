"""Bytes that a training step keeps for its backward: plain torch, accelerated, with ReLUs fused.

    python -m benchmarks.memory

Counted, not measured: each tensor's memory that autograd saves, once, beside parameters and
buffers. Two nets: ResNet-50 (`resnet50_step.py`), whose ReLUs work in place, and the same with
ReLUs that don't, as many people write them. Writes results/memory.md.
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import nn

from batchnorm.hosts.torch import accelerate
from benchmarks.resnet50_step import resnet50

RESULT = Path(__file__).parent / "results" / "memory.md"


def kept(model: nn.Module, x: torch.Tensor) -> int:
    """Bytes kept for the backward of a forward in training."""
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    seen: dict[int, int] = {}
    alive = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        alive.append(tensor)
        seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        model.train()(x)
    return sum(size for place, size in seen.items() if place not in own)


def out_of_place(model: nn.Module) -> nn.Module:
    """The model with ReLUs that give new tensors."""
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return model


def contenders(model: nn.Module) -> dict[str, nn.Module]:
    """Each on a copy of the same model."""
    return {
        "torch": copy.deepcopy(model),
        "accelerate": accelerate(copy.deepcopy(model), verbose=False),
        "accelerate, fuse=True": accelerate(copy.deepcopy(model), fuse=True, verbose=False),
    }


def main() -> None:
    """Count, write."""
    torch.manual_seed(0)
    x = torch.randn(8, 3, 96, 96)
    lines = [
        "# Bytes kept for the backward",
        "",
        f"`python -m benchmarks.memory`: torch {torch.__version__}, input {tuple(x.shape)}, "
        "float32; beside parameters and buffers, each memory once.",
        "",
        "| net | contender | bytes | of torch's |",
        "|---|---|---:|---:|",
    ]
    nets = {"ResNet-50": resnet50(), "ResNet-50, ReLUs not in place": out_of_place(resnet50())}
    for name, model in nets.items():
        found = {what: kept(one, x) for what, one in contenders(model).items()}
        for what, size in found.items():
            lines.append(f"| {name} | {what} | {size:,} | {size / found['torch']:.3f} |")
    text = "\n".join(lines) + "\n"
    RESULT.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
