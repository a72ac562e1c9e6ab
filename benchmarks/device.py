"""Batch norm layers on the device that torch has: torch's own, and ours by each dialect's rule.

    python -m benchmarks.device [--device cuda] [--shape 64x256x28x28] [--rounds 30] [--eager]

On CUDA where torch has it, else on the CPU (where ours computes with its own kernel; a dispatch
mode would cost more than is measured). Rows: torch's layer, `accelerate`, `port` to each dialect,
and the compiled versions of all, forward in training and backward, float32 and bfloat16, contiguous
and channels_last. A time is the median over rounds in which the contenders take turns, and is
printed as the ratio to a copy of the input on that device, made in the same round. Before a
contender is timed its result, gradients and running statistics are compared with the definition in
float64; one that is off isn't timed, and the command ends with 1. With --output, writes the table.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch._dynamo
from torch import Tensor, nn

from batchnorm.hosts.torch import accelerate, port
from benchmarks import machine

RULES = {"keras": 0, "mindspore": 1, "tf_keras": 1}
"""Dialects, and what their averaged variance is divided by: n minus this."""
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
BOUNDS = {torch.float32: 1e-4, torch.bfloat16: 3e-2}
"""Of results and gradients; running statistics, which are float32, have the first always."""
MOMENTUM = 0.25


def contenders(channels: int, device: str, eager: bool) -> dict[str, tuple[nn.Module, int]]:
    """Layers by name, with the correction of what they average."""
    made: dict[str, tuple[nn.Module, int]] = {}
    made["torch"] = nn.BatchNorm2d(channels, momentum=MOMENTUM), 1
    made["accelerate"] = accelerate(copy.deepcopy(made["torch"][0]), verbose=False), 1
    for rule, correction in RULES.items():
        layer = port(nn.BatchNorm2d(channels, momentum=MOMENTUM), rule, verbose=False)
        made[f"port to {rule}"] = layer, correction
    made = {name: (layer.to(device), correction) for name, (layer, correction) in made.items()}
    if not eager:
        for name, (layer, correction) in list(made.items()):
            compiled = torch.compile(copy.deepcopy(layer), fullgraph=True)
            made[f"{name}, compiled"] = compiled, correction
    return made


def off(layer: nn.Module, correction: int, x: Tensor, dy: Tensor) -> float:
    """The largest difference from the definition in float64, as a part of its bound.

    Each is relative to the largest value.
    """
    for own in layer.buffers():
        own.zero_()
    given = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    y = layer(given)
    y.backward(dy)
    z = x.detach().double().cpu().requires_grad_()
    d = z - z.mean((0, 2, 3), keepdim=True)
    wanted = d / (d.pow(2).mean((0, 2, 3), keepdim=True) + 1e-5).sqrt()
    wanted.backward(dy.double().cpu())
    n = z.numel() // z.shape[1]
    var = d.detach().pow(2).sum((0, 2, 3)) / (n - correction)
    buffers = {name.split(".")[-1]: t for name, t in layer.named_buffers()}
    pairs = [(y, wanted), (given.grad, z.grad)]
    pairs += [(buffers["running_mean"], MOMENTUM * z.mean((0, 2, 3)))]
    pairs += [(buffers["running_var"], MOMENTUM * var)]
    found = 0.0
    for number, (own, right) in enumerate(pairs):
        bound = BOUNDS[x.dtype if number < 2 else torch.float32]
        assert own is not None
        assert right is not None
        one, other = own.detach().double().cpu(), right.detach()
        difference = float((one - other).abs().max() / other.abs().max().clamp_min(1e-3))
        found = max(found, difference / bound)
    return found


def clock(device: str, run: Callable[[], Any]) -> float:
    """Seconds of one run, the device waited for."""
    wait = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    wait()
    start = time.perf_counter()
    run()
    wait()
    return time.perf_counter() - start


def timed(layers: dict[str, nn.Module], x: Tensor, dy: Tensor, rounds: int) -> dict[str, Any]:
    """Medians of (forward, backward), as ratios to a copy in the same round."""
    device = str(x.device)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in layers}
    for step in range(rounds + 3):
        copied = clock(device, x.clone)
        for name, layer in layers.items():
            given = x.detach().requires_grad_()
            results: list[Tensor] = []
            forward = clock(device, lambda: results.append(layer(given)))  # noqa: B023
            backward = clock(device, lambda: results[0].backward(dy))  # noqa: B023
            if step >= 3:  # warm
                found[name].append((forward / copied, backward / copied))
    columns = {name: zip(*pairs, strict=True) for name, pairs in found.items()}
    return {name: [statistics.median(c) for c in pair] for name, pair in columns.items()}


def report(device: str, shape: tuple[int, ...], rounds: int, eager: bool) -> tuple[str, bool]:
    """The table, and whether every answer was right."""
    name = torch.cuda.get_device_name() if device.startswith("cuda") else machine.name()
    lines = [
        "# Batch norm on a device, by dialect",
        "",
        f"torch {torch.__version__}, {name}, {tuple(shape)}; times as ratios to a copy of the "
        f"input there, median of {rounds} rounds.",
        "",
        "| type | layout | layer | forward | backward | off, of its bound |",
        "|---|---|---|---:|---:|---:|",
    ]
    right = True
    torch._dynamo.config.recompile_limit = 64
    for dtype in BOUNDS:
        for layout, form in LAYOUTS.items():
            torch.manual_seed(0)
            torch.compiler.reset()  # all layers of a kind share their code, compiled so often alone
            x = (torch.randn(shape, device=device) * 2 + 1).to(dtype).to(memory_format=form)
            dy = torch.randn(shape, device=device).to(dtype).to(memory_format=form)
            made = contenders(shape[1], device, eager)
            wrong = {what: off(*one, x, dy) for what, one in made.items()}
            good = {what: made[what][0] for what, error in wrong.items() if error <= 1}
            times = timed(good, x, dy, rounds)
            right = right and len(good) == len(made)
            for what, error in wrong.items():
                pair = [f"{t:.2f}" for t in times[what]] if what in times else ["wrong", "wrong"]
                row = [str(dtype)[6:], layout, what, *pair, f"{error:.2f}"]
                lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines) + "\n", right


def parse_shape(text: str) -> tuple[int, ...]:
    """64x256x28x28 as a tuple."""
    parts = text.split("x")
    if len(parts) != 4 or not all(part.isdigit() and int(part) for part in parts):
        raise argparse.ArgumentTypeError(f"expected NxCxHxW such as 64x256x28x28, got {text!r}")
    return tuple(map(int, parts))


def main() -> int:
    """Parse, run, print; 1 where an answer was wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    default = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=default, help=f"as torch names it  [{default}]")
    parser.add_argument("--shape", type=parse_shape, metavar="NxCxHxW", help="of the input")
    parser.add_argument("--rounds", type=int, default=30, help="timed runs of each")
    parser.add_argument("--eager", action="store_true", help="without the compiled versions")
    parser.add_argument("--output", type=Path, help="a file for the table")
    arguments = parser.parse_args()
    large = (64, 256, 28, 28) if arguments.device.startswith("cuda") else (8, 64, 28, 28)
    shape = arguments.shape or large
    text, right = report(arguments.device, shape, arguments.rounds, arguments.eager)
    print(text)
    if arguments.output is not None:
        arguments.output.write_text(text)
    if not right:
        print("an answer is further from the definition than its bound", file=sys.stderr)
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
