"""The pairs of `pairs.txt` converted without a map, loaded strictly, and run on both sides.

`python tests/convert/zoo/run.py [--only TEXT] [--rows FILE] [--table FILE]` prints one line a pair,
adds it to FILE as it comes (pairs that FILE has are not run again), and writes the table. Needs
torch, mindspore, mindcv, tensorflow, keras, tf_keras, timm, torchvision (both without
dependencies), pytorchcv, efficientnet-pytorch.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
TOLERANCE = 1e-4


def pairs():
    lines = (HERE / "pairs.txt").read_text().splitlines()
    return [tuple(line.split()) for line in lines if line and not line.startswith("#")]


def one(source, target, folder, map=None):
    """What becomes of one pair."""
    sys.path.insert(0, str(HERE))
    import nets
    from alike import DIFFERENCES, make_alike

    import batchnorm as bn

    a, b = nets.net(source), nets.net(target)
    a.draw(0)
    b.draw(1)
    firsts = ("k3:ResNet50", "k2:ResNet50", "cv:resnet50")
    for own, other in ((a, target), (b, source)):
        if other in firsts and hasattr(own, "stride_first"):
            own.stride_first()
    paths = [Path(folder) / f"{n}{net.suffix}" for n, net in (("a", a), ("b", b))]
    a.save(paths[0])
    b.save(paths[1])
    out = Path(folder) / f"out{b.suffix}"
    options = {"from_framework": a.framework, "to": b.framework, "like": paths[1]}
    try:
        done = bn.convert(paths[0], out, map=map, **options)
    except bn.CheckpointError as error:
        return {"outcome": "refused", "why": str(error)[:300]}
    report = done.report
    found = {
        "layers": len({r.layer for r in report.rows}),
        "open": len({r.layer for r in report.of("missing", "unused", "ambiguous")}),
    }
    if not report.written:
        why = "; ".join(report.problems[:2]) or "; ".join(
            f"{r.layer} {r.status}: {r.what}" for r in report.of("missing", "unused")[:3]
        )
        return {"outcome": "refused", "why": why[:300], **found}
    b.load(out)
    size = max(nets.size_of(source.partition(":")[2]), nets.size_of(target.partition(":")[2]))
    x = np.random.default_rng(2).normal(0, 1, (2, size, size, 3)).astype("f4")
    wanted, got = a.logits(x), b.logits(x)
    if wanted.shape != got.shape:
        return {"outcome": "converted", "why": f"logits {wanted.shape} and {got.shape}", **found}
    off = float(np.abs(wanted - got).max() / np.abs(wanted).max())
    found |= {"outcome": "converted", "off": off, "exit": report.exit_code}
    if off > TOLERANCE and (source, target) in DIFFERENCES:
        found["why"], side, changes = DIFFERENCES[source, target]
        changed = nets.net((source, target)[side])
        make_alike(changed, changes)
        changed.load((paths[0], out)[side])
        wanted, got = (b, a)[side].logits(x), changed.logits(x)
        found["alike"] = float(np.abs(wanted - got).max() / np.abs(wanted).max())
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="")
    parser.add_argument("--rows", type=Path)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--pair", nargs=2, action="append")
    given = parser.parse_args()
    if given.pair:
        for pair in given.pair:
            with tempfile.TemporaryDirectory() as folder:
                print("RESULT" + json.dumps({"pair": pair, **one(*pair, folder)}), flush=True)
        return
    rows, known = [], {}
    if given.rows and given.rows.exists():
        known = {tuple(one[:3]): one[3] for one in map(json.loads, given.rows.open())}
    for family, source, target in pairs():
        if (family, source, target) in known:
            rows.append((family, source, target, known[family, source, target]))
            continue
        if not any(text in f"{family} {source} {target}" for text in given.only.split(",")):
            continue
        try:
            with tempfile.TemporaryDirectory() as folder:
                found = one(source, target, folder)
        except Exception as error:  # a zoo's own fault is a row of the table
            found = {"outcome": "failed", "why": f"{type(error).__name__}: {error}"[:200]}
        rows.append((family, source, target, found))
        if given.rows:
            with given.rows.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
        print(source, target, json.dumps(found), flush=True)
    if given.table:
        given.table.write_text(table(rows))


def table(rows):
    sys.path.insert(0, str(HERE))
    from alike import OTHERS

    lines = [
        "| family | source | target | outcome | exit | logits off | set alike | open | why |",
        "|---|---|---|---|---:|---:|---:|---:|---|",
    ]
    for family, source, target, found in rows:
        off, alike = (f"{found[k]:.1e}" if k in found else "" for k in ("off", "alike"))
        why = found.get("why", "").replace("|", "\\|")
        if found["outcome"] == "refused" and (source, target) in OTHERS:
            why = f"another architecture: {OTHERS[source, target]}"
        code, left = (str(found.get(name, "")) for name in ("exit", "open"))
        cells = [family, source, target, found["outcome"], code, off, alike, left, why]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
