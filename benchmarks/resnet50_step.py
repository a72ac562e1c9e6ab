"""A training step of ResNet-50: plain torch, accelerated, and with ReLUs fused.

    python -m benchmarks.resnet50_step [--steps 20] [--rounds 3] [--input 8x96 --input 16x224]

First the losses: the accelerated model must stay within what changes of the input by one unit in
the last place cause in plain torch over the same steps (`apart`). Then the times: the contenders
take turns in every round, each on a copy of the same model, for each size of the input (the losses
are compared with the first). "without" is the same model with its
batch norms (and, in the fused row, its ReLUs) taken out: what can be gained at all. With --busy all
use one thread and its processor time is taken, which others' load disturbs less. Writes
results/resnet50_step.md.
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")

import torch
from torch import nn

import batchnorm as bn
from benchmarks import machine

RATE = 0.01
INPUTS = [(8, 96), (16, 224)]  # images and the pixels of a side
CYCLE = 4  # batches that the comparison of losses goes through again and again, so that they fall
NUDGES = 10  # a value crosses a ReLU in about one of four, and moves a loss by 3e-5
RESULT = Path(__file__).parent / "results" / "resnet50_step.md"


class Bottleneck(nn.Module):
    """Three convolutions and a shortcut (He et al. 2015, with the stride in the second one)."""

    def __init__(self, inside: int, width: int, stride: int) -> None:
        super().__init__()
        outside = 4 * width
        self.conv1 = nn.Conv2d(inside, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outside, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outside)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = nn.Identity()
        if stride != 1 or inside != outside:
            conv = nn.Conv2d(inside, outside, 1, stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(outside))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The block's result."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += self.shortcut(x)
        return self.relu(out)


def resnet50(classes: int = 1000) -> nn.Module:
    """ResNet-50 with 53 batch norms."""
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)]
    layers += [nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    inside = 64
    for width, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(blocks):
            layers.append(Bottleneck(inside, width, stride if block == 0 else 1))
            inside = 4 * width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inside, classes)]
    return nn.Sequential(*layers)


def without(model: nn.Module, relu: bool) -> nn.Module:
    """The model without its batch norms, and its activations if asked; else a layer's own stays."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, getattr(child, "act", nn.Identity()))
    for module in list(model.modules()) if relu else ():
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU | nn.ReLU6):
                setattr(module, name, nn.Identity())
    return model


def stepper(model: nn.Module, rate: float = 0.01) -> Callable[[torch.Tensor, torch.Tensor], float]:
    """One step of SGD with momentum; gives the loss."""
    optimizer = torch.optim.SGD(model.parameters(), rate, momentum=0.9)

    def step(x: torch.Tensor, label: torch.Tensor) -> float:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), label)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def losses(model: nn.Module, batches: list[tuple[torch.Tensor, torch.Tensor]]) -> list[float]:
    """The losses of training on the batches."""
    step = stepper(model, RATE)
    return [step(x, label) for x, label in batches]


def beginning(model: nn.Module) -> nn.Module:
    """A copy whose blocks begin as their shortcuts (the last gamma is 0: Goyal et al. 2017).

    torch's own initial values make the first gradients so large that a step magnifies rounding ten
    thousand times, at any rate at which a loss falls: whatever trains there comes apart at once.
    """
    begun = copy.deepcopy(model)
    for module in begun.modules():
        if hasattr(module, "bn3") and getattr(module, "adds", True):
            nn.init.zeros_(module.bn3.weight)
    return begun


def nudged(x: torch.Tensor, number: int) -> torch.Tensor:
    """Every value one unit in the last place up (0), down (1), or either, by draw."""
    if number < 2:
        up = torch.full_like(x, number == 0, dtype=torch.bool)
    else:
        draw = torch.Generator().manual_seed(number)
        up = torch.rand(x.shape, generator=draw) < 0.5
    return torch.nextafter(x, torch.where(up, torch.inf, -torch.inf))


def apart(
    model: nn.Module, batches: list[tuple[torch.Tensor, torch.Tensor]]
) -> tuple[list[float], dict[str, list[float]]]:
    """Plain torch's losses, and how far those of each other training are from them.

    One change by one ulp is one draw: whether a value somewhere comes to lie on the other side of a
    ReLU moves a loss a hundred times as far as rounding does, so there are several.
    """
    plain = losses(beginning(model), batches)
    found = {}
    for number in range(NUDGES):
        moved = [(nudged(x, number), label) for x, label in batches]
        found[f"one ulp of the input, {number + 1}"] = losses(beginning(model), moved)
    for name, fuse in (("accelerate", False), ("accelerate, fuse=True", True)):
        found[name] = losses(bn.hosts.torch.accelerate(beginning(model), fuse=fuse), batches)
    differences = {
        name: [abs(a - b) for a, b in zip(own, plain, strict=True)] for name, own in found.items()
    }
    return plain, differences


def contenders(model: nn.Module) -> dict[str, nn.Module]:
    """Each on a copy of the same model."""
    return {
        "torch": copy.deepcopy(model),
        "accelerate": bn.hosts.torch.accelerate(copy.deepcopy(model)),
        "accelerate, fuse=True": bn.hosts.torch.accelerate(copy.deepcopy(model), fuse=True),
        "without batch norm": without(copy.deepcopy(model), False),
        "without batch norm and ReLU": without(copy.deepcopy(model), True),
    }


def times(
    model: nn.Module,
    batch: tuple[torch.Tensor, torch.Tensor],
    rounds: int,
    clock: Callable[[], float],
) -> dict[str, list[float]]:
    """Seconds per step of each contender, one list entry a round."""
    steps = {name: stepper(one, rate=0.0) for name, one in contenders(model).items()}
    found: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step(*batch)
    for _ in range(rounds):
        for name, step in steps.items():
            start = clock()
            step(*batch)
            found[name].append(clock() - start)
    return found


def report(
    arguments: argparse.Namespace, net: Callable[[], nn.Module], title: str, command: str
) -> str:
    """Run it, and write the table."""
    torch.manual_seed(0)
    threads, clock = (1, time.process_time) if arguments.busy else (2, time.perf_counter)
    torch.set_num_threads(threads)
    bn.set_num_threads(threads)
    model = net()
    inputs = arguments.input or INPUTS
    asked = " ".join(f"--input {count}x{size}" for count, size in inputs)
    asked += " --busy" if arguments.busy else ""
    how = "1 thread, processor time" if arguments.busy else "2 threads"

    def batch(count: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.randn(count, 3, size, size), torch.randint(0, 1000, (count,))

    lines = [
        f"# A training step of {title}",
        "",
        f"`python -m benchmarks.{command} --steps {arguments.steps} --rounds "
        f"{arguments.rounds} {asked}`: torch {torch.__version__}, batchnorm {bn.__version__}, "
        f"{machine.name()}, {how}, float32.",
        "",
    ]
    if arguments.steps:
        lines += compare([batch(*inputs[0]) for _ in range(arguments.steps)], model)
    for count, size in inputs if arguments.rounds else ():
        shape = f"input ({count}, 3, {size}, {size})"
        lines += timed(shape, times(model, batch(count, size), arguments.rounds, clock))
    return "\n".join(lines)


def timed(title: str, found: Mapping[str, list[float]]) -> list[str]:
    """The table of one input's times."""
    lines = [
        f"| {title} | ms a step (median) | of torch's (median of ratios, spread) |",
        "|---|---|---|",
    ]
    for name, seconds in found.items():
        ratios = [own / other for own, other in zip(seconds, found["torch"], strict=True)]
        lines.append(
            f"| {name} | {statistics.median(seconds) * 1000:.0f} | "
            f"{statistics.median(ratios):.3f} ({min(ratios):.3f} – {max(ratios):.3f}) |"
        )
    return [*lines, ""]


def compare(batches: list[tuple[torch.Tensor, torch.Tensor]], model: nn.Module) -> list[str]:
    """How far losses come apart, beside what one ulp of the input causes."""
    again = [batches[step % CYCLE] for step in range(len(batches))]
    plain, differences = apart(model, again)
    lines = [
        "| against plain torch | largest difference of a loss | in the first step |",
        "|---|---|---|",
    ]
    for name, own in differences.items():
        lines.append(f"| {name} | {max(own):.2e} | {own[0]:.1e} |")
    return [
        *lines,
        "",
        f"Losses go from {plain[0]:.3f} to {plain[-1]:.3f} in {len(plain)} steps.",
        "",
    ]


def parse_input(text: str) -> tuple[int, int]:
    """8x96 as (8, 96)."""
    count, _, size = text.partition("x")
    if not (count.isdigit() and size.isdigit() and int(count) and int(size)):
        raise argparse.ArgumentTypeError(f"expected BATCHxPIXELS such as 8x96, got {text!r}")
    return int(count), int(size)


def main(
    nets: Mapping[str, Callable[[], nn.Module]], command: str, result: Path, doc: str | None
) -> None:
    """Parse, run, write a table for each net."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=20, help="steps of the comparison of losses")
    parser.add_argument("--rounds", type=int, default=3, help="timed steps of each contender")
    parser.add_argument(
        "--input",
        action="append",
        type=parse_input,
        metavar="BATCHxPIXELS",
        help="may be repeated  [8x96 and 16x224]",
    )
    parser.add_argument("--busy", action="store_true", help="one thread, by processor time")
    parser.add_argument("--output", type=Path, default=result)
    arguments = parser.parse_args()
    text = "\n".join(report(arguments, net, title, command) for title, net in nets.items())
    arguments.output.parent.mkdir(exist_ok=True)
    arguments.output.write_text(text)
    print(text)


if __name__ == "__main__":
    main({"ResNet-50": resnet50}, "resnet50_step", RESULT, __doc__)
