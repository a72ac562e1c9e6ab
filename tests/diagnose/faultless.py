"""Random faultless ports, of which a diagnosis must have nothing to say.

    python tests/diagnose/faultless.py --results FILE

prints a table by kind (docs/diagnose.md holds the latest). Layers are of this package, each port
made by `translate` and its state carried over; nets are real models of torch, MindSpore, Keras 3
and Keras 2 against each other, built from one random description, and ResNet-50 against its ports.
Each case is a line of FILE as soon as it is known, and is not run again: a run that was killed goes
on where it was, and one of `--minutes` ends by itself.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import json
import sys
import time
import traceback
import warnings
from pathlib import Path

import numpy as np
from built_nets import BUILD, Net, resnet50

import batchnorm as bn
from batchnorm.diagnose import diagnose
from batchnorm.translate import carry, translate

DIALECTS = ("torch", "mindspore", "tf_keras", "keras")
RANKS = {2: "1d", 3: "1d", 4: "2d", 5: "3d"}
PORTS = ("torch", "mindspore", "keras", "tf_keras")
PAIRS = list(itertools.product(PORTS, PORTS))


def random_layer(draw, dialect, rank, channels, epsilon, factor):
    module = getattr(bn, dialect)
    if dialect in ("torch", "mindspore"):
        momentum = factor if dialect == "torch" else 1 - factor
        layer = getattr(module, f"BatchNorm{RANKS[rank]}")(channels, epsilon, momentum)
    else:
        layer = module.BatchNormalization(axis=1, momentum=1 - factor, epsilon=epsilon)
        layer.build((None, channels, *(3,) * (rank - 2)))
    trained = draw.random() < 0.8
    values = layer.state
    for name, value in values.items():
        role = layer.STATE[name].role
        if role != "count" and trained:
            high = draw.uniform(0.05, 3.0, value.shape)
            drawn = high if role in ("gamma", "running_var") else draw.normal(0, 1, value.shape)
            values[name] = drawn.astype(value.dtype)
    layer.load_state(values)
    return layer


def layer_case(seed):
    """A source, its port, a batch and what they are called."""
    draw = np.random.default_rng(seed)
    source_name, port_name = draw.choice(DIALECTS, 2)
    ranks = [2, 4] if "mindspore" in (source_name, port_name) else [2, 3, 4, 5]
    rank, channels = int(draw.choice(ranks)), int(draw.integers(1, 24))
    epsilon = float(draw.choice([1e-5, 1e-3, 1e-4, 1e-2]))
    factor = float(draw.choice([0.1, 0.01, 0.03, 0.3, 1e-3]))
    source = random_layer(draw, source_name, rank, channels, epsilon, factor)
    if source_name == port_name:
        port = random_layer(draw, port_name, rank, channels, epsilon, factor)
        carry(source, port)
    else:
        port = translate(source, to=port_name, rank=rank, num_features=channels).layer()
    if not getattr(port, "built", True):
        port.build((None, channels, *(3,) * (rank - 2)))
        carry(source, port)
    modes = [layer for layer in (source, port) if hasattr(layer, "training")]
    for layer in modes:
        layer.training = True
    shape = (int(draw.integers(2, 33)), channels, *draw.integers(1, 9, rank - 2))
    mean, scale = draw.choice([0, 0, 1, 30]), draw.choice([1, 1, 0.02, 40])
    x = draw.normal(mean, scale, shape).astype(np.float32)
    if draw.random() < 0.2:
        x[:, 0] = x.flat[0]  # a constant channel
    return source, port, x, f"{source_name} to {port_name}"


def random_net(seed, blocks=None, size=None, width=None):
    """Residual, depthwise, plain; batch 1 to 32; sometimes a constant channel."""
    draw = np.random.default_rng(seed)
    batch = int(draw.choice([1, 2, 4, 8, 32]))
    side = int(size or draw.choice([8, 12, 15, 16]))
    net = Net(shape=(batch, int(draw.choice([1, 3])), side, side), seed=seed)
    wide = int(width or draw.choice([4, 6, 8]))
    act = str(draw.choice(["relu", "relu6", "silu", "leaky", "gelu"]))
    biased = bool(draw.random() < 0.3)
    net.conv_bn("stem", wide, act=act, bias=biased, stride=int(draw.choice([1, 2])))
    # Keras pads with zeros, which are no neutral values of a maximum where values are negative.
    if draw.random() < 0.3 and act.startswith("relu"):
        net.add("stem.pool", "max", kernel=3, stride=2, pad=1)
    for i in range(blocks or int(draw.integers(2, 9))):
        kind, name = draw.choice(["residual", "depthwise", "plain", "bottleneck"]), f"block{i}"
        before, c = net.last, net.channels[net.last]
        if kind == "plain":
            net.conv_bn(f"{name}.0", int(draw.choice([c, c + 2])), act=act, bias=biased)
        elif kind == "depthwise":
            net.conv_bn(f"{name}.expand", 2 * c, kernel=1, act=act)
            net.conv_bn(f"{name}.deep", 2 * c, groups=2 * c, act=act)
            net.conv_bn(f"{name}.project", c, kernel=1, act=None)
            net.add(f"{name}.sum", "add", net.last, before)
        elif kind == "residual":
            net.conv_bn(f"{name}.0", c, act=act)
            net.conv_bn(f"{name}.1", c, act=None)
            net.add(f"{name}.sum", "add", net.last, before)
            net.add(f"{name}.act", "act", function=act)
        else:
            net.conv_bn(f"{name}.0", c, kernel=1, act=act)
            net.conv_bn(f"{name}.1", c, act=act, padding="same")
            net.conv_bn(f"{name}.2", c, kernel=1, act=None)
            last = net.last
            net.conv_bn(f"{name}.down", c, kernel=1, act=None, of=before)
            net.add(f"{name}.sum", "add", last, net.last)
            net.add(f"{name}.act", "act", function=act)
    if draw.random() < 0.3:
        net.parameters["stem.conv"]["kernel"][0] = 0  # a constant channel
    return net.head()


def models(net, seed, source, to):
    """A source, its port, a batch in the source's layout and what they are called."""
    built = []
    for name in (source, to):
        built.append(BUILD[name](net))
        if hasattr(built[-1], "set_train"):
            built[-1].set_train()
    batch = net.batch(seed)
    if source.endswith("keras"):
        batch = np.ascontiguousarray(np.moveaxis(batch, 1, -1))
    return *built, batch, f"{source} to {to}"


def small_net_case(seed):
    """3 to 33 batch norms, torch against each."""
    return models(random_net(seed), seed, "torch", PORTS[seed % len(PORTS)])


def net_case(seed):
    """5 to 50 batch norms, each framework against each."""
    draw = np.random.default_rng([seed, 1])
    while True:
        net = random_net(seed, blocks=int(draw.integers(2, 25)))
        if 5 <= len(net.norms()) <= 50:
            return models(net, seed, *PAIRS[seed % len(PAIRS)])


def joined_net(seed):
    """Activations before convolutions, concatenations, average pools: values with many users."""
    draw = np.random.default_rng([seed, 2])
    batch, side = int(draw.choice([2, 4, 8, 32])), int(draw.choice([8, 12, 16]))
    net = Net(shape=(batch, 3, side, side), seed=seed)
    act = str(draw.choice(["relu", "relu6", "silu"]))
    net.add("stem", "conv", out=int(draw.choice([6, 8])), kernel=3)
    for i in range(int(draw.integers(3, 17))):
        kind, name, a = draw.choice(["before", "dense", "dense", "pool"]), f"block{i}", net.last
        net.add(f"{name}.0.bn", "bn")
        net.add(f"{name}.0.act", "act", function=act)
        wide = net.channels[a]
        if kind == "pool" and side >= 8:
            net.add(f"{name}.0.conv", "conv", out=max(wide // 2, 4), kernel=1)
            net.add(f"{name}.pool", "average")
            side //= 2
            continue
        net.add(f"{name}.0.conv", "conv", out=wide if kind == "before" else 4, kernel=3)
        if kind == "before":
            net.conv_bn(f"{name}.1", wide, act=None)
            net.add(f"{name}.sum", "add", net.last, a)
        else:
            net.add(f"{name}.joined", "concat", a, net.last)
    net.add("last", "bn")
    net.add("last.act", "act", function=act)
    return net.head()


def joined_case(seed):
    """5 to 33 batch norms, torch against each."""
    while len((net := joined_net(seed)).norms()) < 5:
        seed += 1000
    return models(net, seed, "torch", PORTS[seed % len(PORTS)])


def large_case(seed):
    """ResNet-50 itself, on images of 64 pixels."""
    net = resnet50(seed, (int(np.random.default_rng(seed).choice([2, 4, 8])), 3, 64, 64))
    return models(net, seed, "torch", PORTS[seed % len(PORTS)])


CASES = {
    "layers": layer_case,
    "nets": net_case,
    "joined": joined_case,
    "large": large_case,
    "small": small_net_case,
}
COUNTS = {"layers": 680, "nets": 150, "joined": 150, "large": 20}


def false_alarms(kind, seed):
    """What a diagnosis wrongly says: its report, or None."""
    source, port, x, name = CASES[kind](seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = diagnose(source, port, x, steps=2 if kind == "layers" else 1)
    return name, (report if report.findings else None)


def run(kind, seed):
    """A case as a line: what it was, what was found, how long it took."""
    start = time.time()
    try:
        name, report = false_alarms(kind, seed)
        found = None if report is None else report.text()
    except Exception:
        name, found = "failed", traceback.format_exc()
    seconds = round(time.time() - start, 1)
    return {"kind": kind, "seed": seed, "pair": name, "found": found, "seconds": seconds}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for kind, count in COUNTS.items():
        parser.add_argument(f"--{kind}", type=int, default=count)
    parser.add_argument("--from", dest="first", type=int, default=0)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    given = parser.parse_args()
    text = given.results.read_text() if given.results.exists() else ""
    done = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    done = [each for each in done if each["pair"] != "failed"]  # those are tried again
    known = {(each["kind"], each["seed"]) for each in done}
    # Evenly over the kinds, so that a run which is stopped has seen its share of each.
    shares = sorted(
        ((index + 0.5) / count, kind, given.first + index)
        for kind in COUNTS
        for count in [getattr(given, kind)]
        for index in range(count)
    )
    wanted = [(kind, seed) for _, kind, seed in shares]
    start = time.time()
    with given.results.open("a") as file:
        for kind, seed in wanted:
            if (kind, seed) in known or time.time() - start > 60 * given.minutes:
                continue
            done.append(run(kind, seed))
            file.write(json.dumps(done[-1]) + "\n")
            file.flush()
            if done[-1]["found"]:
                print(f"{kind} {seed} {done[-1]['pair']}\n{done[-1]['found']}", file=sys.stderr)
    table = collections.defaultdict(lambda: [0, 0])
    for each in done:
        table[each["kind"], each["pair"]][0] += 1
        table[each["kind"], each["pair"]][1] += bool(each["found"])
    print("| kind | pair | faultless ports | with a finding |\n|---|---|---:|---:|")
    for (kind, name), (count, wrong) in sorted(table.items()):
        print(f"| {kind} | {name} | {count} | {wrong} |")
    if len(done) < len(wanted):
        sys.exit(f"{len(wanted) - len(done)} cases are left: run it again")


if __name__ == "__main__":
    main()
