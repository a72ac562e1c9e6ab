"""Random faultless ports, of which a diagnosis must have nothing to say.

    python tests/diagnose/faultless.py --layers 680 --nets 300 --large 20

prints a table by kind (docs/diagnose.md holds the latest). Layers are of this package, each port
made by `translate` and its state carried over; nets are torch models against torch, MindSpore,
Keras 3 and Keras 2, built from one random description.
"""

from __future__ import annotations

import argparse
import collections
import sys
import time
import warnings

import numpy as np
from built_nets import BUILD, Net, torch_net

import batchnorm as bn
from batchnorm.diagnose import diagnose
from batchnorm.translate import carry, translate

DIALECTS = ("torch", "mindspore", "tf_keras", "keras")
RANKS = {2: "1d", 3: "1d", 4: "2d", 5: "3d"}
PORTS = ("torch", "mindspore", "keras", "tf_keras")


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


def net_case(seed, **options):
    """A source, its port, a batch and what they are called."""
    net = random_net(seed, **options)
    to = PORTS[seed % len(PORTS)]
    port = BUILD[to](net)
    if hasattr(port, "set_train"):
        port.set_train()
    return torch_net(net), port, net.batch(seed), f"net: torch to {to}"


def large_case(seed):
    """53 batch norms, as ResNet-50 has."""
    return net_case(seed, blocks=17, size=16, width=8)


CASES = {"layers": layer_case, "nets": net_case, "large": large_case}


def false_alarms(kind, seed):
    """What a diagnosis wrongly says: its report, or None."""
    source, port, x, name = CASES[kind](seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = diagnose(source, port, x, steps=2 if kind == "layers" else 1)
    return name, (report if report.findings else None)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for kind, count in (("layers", 680), ("nets", 300), ("large", 20)):
        parser.add_argument(f"--{kind}", type=int, default=count)
    parser.add_argument("--from", dest="first", type=int, default=0)
    given = parser.parse_args()
    table = collections.defaultdict(lambda: [0, 0])
    for kind in CASES:
        for seed in range(given.first, given.first + getattr(given, kind)):
            start = time.time()
            name, report = false_alarms(kind, seed)
            table[kind, name][0] += 1
            if report is not None:
                table[kind, name][1] += 1
                print(f"{kind} {seed} {name}\n{report}", file=sys.stderr, flush=True)
            if time.time() - start > 30:
                print(f"slow: {kind} {seed} {time.time() - start:.0f} s", file=sys.stderr)
    print("| kind | pair | faultless ports | with a finding |\n|---|---|---:|---:|")
    for (kind, name), (count, wrong) in sorted(table.items()):
        print(f"| {kind} | {name} | {count} | {wrong} |")


if __name__ == "__main__":
    main()
