"""Every architecture of timm: which of its batch norms `accelerate` and `port` take.

    python -m benchmarks.architectures [--families] [--only resnet50 --only …]
    python -m benchmarks.architectures --numbers 30

Each is built on the meta device, where it needs no memory. A row says how many batch norms it has,
how many were taken and by what, and names each that wasn't with the reason. Writes
results/architectures.md.

With --numbers, that many small architectures, one of a family, train three steps and evaluate in
float64 instead, plain and accelerated (with and without fuse), from the same weights on the same
batches: largest difference of a loss, a parameter, a buffer or a logit, each relative to its
largest value; beside it, what one unit in the last place of the input does to plain torch. Writes
results/architectures_numbers.md.

Needs timm (1.0.31) and, of torchvision, the Python files alone: `pip install --no-deps torchvision`
will do, as the operators that it looks for when imported are declared here.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from batchnorm.hosts.torch import accelerate
from batchnorm.hosts.torch.candidates import candidates

RESULTS = Path(__file__).parent / "results"
STEPS, BATCH, SIZE = 3, 4, 32
SMALL = 8e6
"""Parameters of an architecture that is small enough for --numbers."""
DECLARED: list[Any] = []


def zoo() -> Any:
    """timm, with what torchvision asks torch for when imported."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    DECLARED.append(library)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import timm
    return timm


def family(name: str) -> str:
    """resnet of resnet50d, mobilenetv3 of mobilenetv3_large_100."""
    return name.split("_")[0].rstrip("0123456789") or name


def firsts(names: list[str]) -> list[str]:
    """The first name of each family."""
    return list({family(name): name for name in reversed(names)}.values())[::-1]


def rows(timm: Any, names: list[str]) -> Iterator[tuple[str, int, int, Counter[str], list[str]]]:
    """(name, batch norms, taken, by what, what is left and why) of each that has any."""
    for name in names:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                with torch.device("meta"):
                    model = timm.create_model(name)
            except Exception as error:  # a name that only loads weights, a size that isn't known
                text = " ".join(str(error).split())[:80]
                yield name, 0, 0, Counter(), [f"not built: {type(error).__name__}: {text}"]
                continue
            found = candidates(model)
            print(name, len(found), file=sys.stderr, flush=True)
        how = Counter(one.forward.__name__ for one in found if one.forward is not None)
        left = [f"{one.path} ({one.kind}): {one.why}" for one in found if one.forward is None]
        yield name, len(found), sum(how.values()), how, left


def trained(model: nn.Module, nudge: bool = False) -> list[torch.Tensor]:
    """Losses of three steps, the parameters and buffers they leave, and logits of evaluation."""
    draw = torch.Generator().manual_seed(1)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    losses = []
    for _ in range(STEPS):
        x = torch.randn(BATCH, 3, SIZE, SIZE, generator=draw, dtype=torch.float64)
        x = torch.nextafter(x, torch.full_like(x, torch.inf)) if nudge else x
        torch.manual_seed(2)  # of dropout
        y = model.train()(x)
        loss = nn.functional.cross_entropy(y, torch.arange(BATCH) % y.shape[1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    with torch.no_grad():
        y = model.eval()(x)
    return [torch.stack(losses), *model.state_dict().values(), y]


def apart(one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
    """The largest difference, each relative to its largest value; NaN is none."""
    found = 0.0
    for a, b in zip(one, other, strict=True):
        a, b = a.double(), b.double()
        if not torch.equal(a.isnan(), b.isnan()):
            return float("inf")
        scale = max(1.0, float(b.nan_to_num().abs().max())) if b.numel() else 1.0
        found = max(found, float((a - b).nan_to_num().abs().max()) / scale) if b.numel() else found
    return found


def numbers(
    timm: Any, names: list[str], most: int
) -> Iterator[tuple[str, int, float, float, float]]:
    """(name, batch norms, difference of accelerate, of fuse, of one ulp), one of a family."""
    families: set[str] = set()
    for name in names:
        if len(families) >= most:
            return
        with torch.device("meta"):
            try:
                made = timm.create_model(name, num_classes=10)
            except Exception:  # named by `rows`
                continue
        if family(name) in families or sum(p.numel() for p in made.parameters()) > SMALL:
            continue
        count = len(candidates(made))
        if not count:
            continue
        torch.manual_seed(0)
        plain = timm.create_model(name, num_classes=10).double()
        quick = accelerate(copy.deepcopy(plain), verbose=False)
        fused = accelerate(copy.deepcopy(plain), fuse=True, verbose=False)
        moved = copy.deepcopy(plain)
        try:
            wanted = trained(plain)
        except Exception:  # takes its own size alone
            continue
        families.add(family(name))
        found = [trained(quick), trained(fused), trained(moved, True)]
        one, two, ulp = (apart(own, wanted) for own in found)
        yield name, count, one, two, ulp


def table(timm: Any, names: list[str], families: bool) -> str:
    """Markdown: what is taken of each."""
    found = list(rows(timm, names))
    with_any = [row for row in found if row[1]]
    unbuilt = [row for row in found if not row[1] and row[4]]
    total, taken = (sum(row[i] for row in with_any) for i in (1, 2))
    named = sum(len(row[4]) for row in with_any)
    asked = " --families" if families else ""
    lines = [
        "# Batch norms of timm's architectures",
        "",
        f"`python -m benchmarks.architectures{asked}`: torch {torch.__version__}, timm "
        f"{timm.__version__}.",
        "",
        f"{len(found)} architectures of {len(timm.list_models())}, {len(with_any)} with batch "
        f"norms: {total} batch norms, {taken} taken, {named} named with a reason, "
        f"{total - taken - named} neither; "
        f"{len(unbuilt)} couldn't be built on the meta device.",
        "",
        "By: `Forward` torch's own classes, `Activated` with an activation among the children, "
        "`Inside` any other forward that calls batch norm.",
        "",
        "| architecture | batch norms | taken | by | left |",
        "|---|---:|---:|---|---|",
    ]
    for name, count, own, how, left in with_any:
        by = ", ".join(f"{kind} {number}" for kind, number in sorted(how.items()))
        lines.append(f"| {name} | {count} | {own} | {by} | {'; '.join(left)} |")
    if unbuilt:
        lines += ["", "| not built on the meta device | |", "|---|---|"]
        lines += [f"| {name} | {left[0]} |" for name, *_, left in unbuilt]
    return "\n".join(lines) + "\n"


def numbers_table(timm: Any, names: list[str], most: int) -> str:
    """Markdown: how far training comes apart."""
    lines = [
        "# Numbers of timm's architectures, accelerated, against plain torch",
        "",
        f"`python -m benchmarks.architectures --numbers {most}`: torch {torch.__version__}, timm "
        f"{timm.__version__}; float64, {BATCH} images of {SIZE} pixels, {STEPS} steps of SGD and "
        "an evaluation.",
        "",
        "| architecture | batch norms | accelerate | with fuse | one ulp of the input |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, count, quick, fused, ulp in numbers(timm, names, most):
        lines.append(f"| {name} | {count} | {quick:.1e} | {fused:.1e} | {ulp:.1e} |")
        print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def main() -> None:
    """Parse, run, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", action="append", help="an architecture  [all of timm]")
    parser.add_argument("--families", action="store_true", help="the first of each family alone")
    parser.add_argument("--numbers", type=int, default=0, help="architectures that are trained")
    parser.add_argument("--output", type=Path, help="a file  [in benchmarks/results]")
    arguments = parser.parse_args()
    timm = zoo()
    names = arguments.only or timm.list_models()
    names = firsts(names) if arguments.families else names
    if arguments.numbers:
        text, file = numbers_table(timm, names, arguments.numbers), "architectures_numbers.md"
    else:
        text, file = table(timm, names, arguments.families), "architectures.md"
    (arguments.output or RESULTS / file).write_text(text)
    print(text)


if __name__ == "__main__":
    main()
