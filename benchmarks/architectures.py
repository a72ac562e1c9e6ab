"""Every architecture of timm: which of its batch norms `accelerate` and `port` take.

    python -m benchmarks.architectures [--families] [--only resnet50 --only …] [--rows FILE]
    python -m benchmarks.architectures --numbers 34 [--rows FILE]

Each is built on the meta device, where it needs no memory. A row says how many batch norms it has,
how many were taken and by what, and names each that wasn't with the reason. Writes
results/architectures.md.

With --numbers, that many small architectures, one of a family, train three steps and evaluate
instead, plain and accelerated (with and without fuse), from the same weights on the same batches:
largest difference of a loss, a parameter, a buffer or a logit, each relative to its largest value;
beside it, what one unit in the last place of the input does to plain torch. In float64 first;
where that comes apart by more than 1e-9 in float32 too. Writes results/architectures_numbers.md.

With --rows, each row is kept in FILE as it comes, one JSON list a line, and a run that is started
again goes on behind the last one.

Needs timm (1.0.31) and, of torchvision, the Python files alone: `pip install --no-deps torchvision`
will do, as the operators that it looks for when imported are declared here.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import nn

from batchnorm.hosts.torch import accelerate
from batchnorm.hosts.torch.candidates import candidates

RESULTS = Path(__file__).parent / "results"
STEPS, BATCH, SIZE = 3, 4, 96
SMALL = 8e6
"""Parameters of an architecture that is small enough for --numbers."""
CLOSE = 1e-9
"""Difference in float64 up to which float32 isn't asked."""
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


Row = tuple[str, int, int, dict[str, int], list[str]]
"""An architecture: its batch norms, those taken, by what, and what is left and why."""
Numbers = tuple[str, int, list[float], list[float] | None]
"""An architecture: its batch norms, and `differences` in float64 and float32."""


class Rows:
    """Rows by architecture, kept in a file as they come."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path is not None and path.exists() else []
        self.known: dict[str, Any] = {row[0]: row for row in map(json.loads, lines)}

    def add(self, row: Any) -> Any:
        """The row, written down."""
        if self.path is not None:
            with self.path.open("a") as file:
                file.write(json.dumps(row) + "\n")
        self.known[row[0]] = row
        return row


def row(timm: Any, name: str) -> Row:
    """What is taken of one architecture."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with torch.device("meta"):
                model = timm.create_model(name)
        except Exception as error:  # a name that only loads weights, a size that isn't known
            text = " ".join(str(error).split())[:80]
            return name, 0, 0, {}, [f"not built: {type(error).__name__}: {text}"]
        found = candidates(model)
    how = Counter(one.forward.__name__ for one in found if one.forward is not None)
    left = [f"{one.path} ({one.kind}): {one.why}" for one in found if one.forward is None]
    return name, len(found), sum(how.values()), dict(how), left


def trained(model: nn.Module, dtype: torch.dtype, nudge: bool = False) -> list[torch.Tensor]:
    """Losses of three steps, the parameters and buffers they leave, and logits of evaluation."""
    draw = torch.Generator().manual_seed(1)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    losses = []
    for _ in range(STEPS):
        x = torch.randn(BATCH, 3, SIZE, SIZE, generator=draw, dtype=torch.float64).to(dtype)
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


def differences(plain: nn.Module, dtype: torch.dtype) -> list[float] | None:
    """From plain torch: of accelerate, of fuse, and of one ulp of the input.

    None for an architecture that itself takes images of its own size alone.
    """
    plain = copy.deepcopy(plain).to(dtype)
    quick = accelerate(copy.deepcopy(plain), verbose=False)
    fused = accelerate(copy.deepcopy(plain), fuse=True, verbose=False)
    moved = copy.deepcopy(plain)
    try:
        wanted = trained(plain, dtype)
    except Exception:  # plain torch's own
        return None
    found = trained(quick, dtype), trained(fused, dtype), trained(moved, dtype, nudge=True)
    return [apart(own, wanted) for own in found]


def numbers(timm: Any, name: str) -> Numbers | None:
    """How far training comes apart; None for a large one, or one without batch norms."""
    try:
        with torch.device("meta"):
            made = timm.create_model(name, num_classes=10)
    except Exception:  # named by `row`
        return None
    count = len(candidates(made))
    if not count or sum(p.numel() for p in made.parameters()) > SMALL:
        return None
    torch.manual_seed(0)
    plain = timm.create_model(name, num_classes=10)
    double = differences(plain, torch.float64)
    if double is None:
        return None
    near = max(double[:2]) <= CLOSE
    return name, count, double, None if near else differences(plain, torch.float32)


def table(timm: Any, names: list[str], families: bool, rows: Rows) -> str:
    """Markdown: what is taken of each."""
    found = []
    for name in names:
        found.append(rows.known.get(name) or rows.add(row(timm, name)))
        print(*found[-1][:3], file=sys.stderr, flush=True)
    with_any = [one for one in found if one[1]]
    unbuilt = [one for one in found if not one[1] and one[4]]
    total, taken = (sum(one[i] for one in with_any) for i in (1, 2))
    named = sum(len(one[4]) for one in with_any)
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


def verdict(double: list[float], single: list[float] | None) -> str:
    """Within 1e-9 in float64, or within how many ulps of the input in float32."""
    if single is None:
        return "float64"
    if single[2] == 0:
        return "float32, equal" if not max(single[:2]) else "apart: no ulp to compare with"
    times = max(single[:2]) / single[2]
    return f"float32, {times:.1f} ulps" if times <= 8 else f"apart: {times:.1f} ulps"


def numbers_table(timm: Any, names: list[str], most: int, rows: Rows) -> str:
    """Markdown: how far training comes apart."""
    lines: list[str] = []
    families: set[str] = set()
    for name in names:
        if len(families) >= most or family(name) in families:
            continue
        found = rows.known.get(name) or numbers(timm, name)
        if found is None:
            continue
        if name not in rows.known:
            rows.add(found)
        families.add(family(name))
        _, count, double, single = found
        cells = [f"{one:.1e}" for one in [*double, *(single or ())]]
        cells += [""] * (6 - len(cells))
        lines.append(f"| {name} | {count} | {' | '.join(cells)} | {verdict(double, single)} |")
        print(lines[-1], file=sys.stderr, flush=True)
    equal = sum("apart" not in line for line in lines)
    head = [
        "# Numbers of timm's architectures, accelerated, against plain torch",
        "",
        f"`python -m benchmarks.architectures --numbers {most}`: torch {torch.__version__}, timm "
        f"{timm.__version__}; {BATCH} images of {SIZE} pixels, {STEPS} steps of SGD and an "
        "evaluation.",
        "",
        f"{equal} of {len(lines)} are equal: within {CLOSE:.0e} in float64, or, where training "
        "amplifies roundings beyond that (the column of one ulp), in float32 within eight times "
        "what one ulp of the input does to plain torch.",
        "",
        "| architecture | batch norms | float64: accelerate | fuse | one ulp | "
        "float32: accelerate | fuse | one ulp | equal by |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    return "\n".join(head + lines) + "\n"


def main() -> None:
    """Parse, run, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", action="append", help="an architecture  [all of timm]")
    parser.add_argument("--families", action="store_true", help="the first of each family alone")
    parser.add_argument("--numbers", type=int, default=0, help="architectures that are trained")
    parser.add_argument("--rows", type=Path, help="a file of rows, kept as they come")
    parser.add_argument("--output", type=Path, help="a file  [in benchmarks/results]")
    arguments = parser.parse_args()
    timm = zoo()
    names = arguments.only or timm.list_models()
    names = firsts(names) if arguments.families else names
    rows = Rows(arguments.rows)
    if arguments.numbers:
        text, file = numbers_table(timm, names, arguments.numbers, rows), "architectures_numbers.md"
    else:
        text, file = table(timm, names, arguments.families, rows), "architectures.md"
    (arguments.output or RESULTS / file).write_text(text)
    print(text)


if __name__ == "__main__":
    main()
