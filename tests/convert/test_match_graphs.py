"""Two models matched as graphs: branches, numbers, blocks; norms with their convolutions."""

import os

import numpy as np
import pytest

import batchnorm as bn
from batchnorm.checkpoints.steps import OUTPUT, Step

random = np.random.default_rng(0)
TORCH = ("weight", "bias", "running_mean", "running_var")
MINDSPORE = ("gamma", "beta", "moving_mean", "moving_variance")


def drawn(*shape):
    return random.normal(size=shape).astype("f4")


def norm(path, channels, names=TORCH, sep="."):
    return {f"{path}{sep}{n}": drawn(channels) ** 2 for n in names}


def conv(path, after, i, o, k=3, names=TORCH):
    return {f"{path}.weight": drawn(o, i, k, k), **norm(after, o, names)}


def pairs(done):
    rows = [row for row in done.report.rows if row.source and row.target]
    return {layer(row.source): layer(row.target) for row in rows}


def layer(name):
    return name.replace("/", ".").rpartition(".")[0]


def torch_to(framework, source, like, **options):
    return bn.convert(source, from_framework="torch", to=framework, like=like, **options)


def test_branches_and_numbers_are_told_by_names_where_the_order_differs():
    a = {"stem.weight": drawn(6, 3, 3, 3), **norm("stem_bn", 6)}
    b = {"features.conv.weight": drawn(6, 3, 3, 3), **norm("features.norm", 6, MINDSPORE)}
    want = {"stem": "features.conv", "stem_bn": "features.norm"}
    for k in (1, 2):
        src, dst = f"layer{k}.0", f"stage{k}.0"
        for c, m in (("conv1", "bn1"), ("conv2", "bn2"), ("downsample.0", "downsample.1")):
            a |= conv(f"{src}.{c}", f"{src}.{m}", 6, 6)
        for c, m in (("shortcut.0", "shortcut.1"), ("conv1", "bn1"), ("conv2", "bn2")):
            b |= conv(f"{dst}.{c}", f"{dst}.{m}", 6, 6, names=MINDSPORE)
        want |= {f"{src}.{n}": f"{dst}.{n}" for n in ("conv1", "bn1", "conv2", "bn2")}
        want |= {f"{src}.downsample.{n}": f"{dst}.shortcut.{n}" for n in (0, 1)}
    assert pairs(torch_to("mindspore", a, b)) == want


def test_an_end_of_a_name_is_no_name():
    a = {"_stem.weight": drawn(6, 3, 3, 3), **norm("_bn0", 6)}
    a |= conv("_blocks.0._dw", "_blocks.0._bn1", 1, 6) | conv("_head", "_bn1", 6, 6, 1)
    b = {"stem.weight": drawn(6, 3, 3, 3), **norm("bn1", 6)}
    b |= conv("blocks.0.0.dw", "blocks.0.0.bn1", 1, 6) | conv("head", "bn2", 6, 6, 1)
    done = torch_to("torch", a, b)
    found = pairs(done)
    assert found["_bn0"] == "bn1"
    assert found["_blocks.0._bn1"] == "blocks.0.0.bn1"
    assert found["_bn1"] == "bn2"


def test_an_extra_branch_leaves_only_itself():
    a, b = conv("features.0.conv", "features.0.bn", 3, 8), conv("stem.c", "stem.b", 3, 8)
    want = {"features.0.conv": "stem.c", "features.0.bn": "stem.b"}
    for j in (1, 2, 3, 4):
        for side, k, size in (("left", 1, 3), ("right", 2, 1)):
            a |= conv(f"features.{j}.{side}.conv", f"features.{j}.{side}.bn", 8, 8, size)
            b |= conv(f"mixed_{j}.b{k}.c", f"mixed_{j}.b{k}.b", 8, 8, size)
            for x, y in (("conv", "c"), ("bn", "b")):
                want[f"features.{j}.{side}.{x}"] = f"mixed_{j}.b{k}.{y}"
        if j == 2:
            a |= conv("aux.conv", "aux.bn", 8, 8, 1)
    done = torch_to("torch", a, b)
    assert pairs(done) == want
    assert {row.layer for row in done.report.of("unused")} == {"aux.conv", "aux.bn"}


def test_a_word_that_all_share_is_no_contradiction():
    a, b = conv("features.0.0", "features.0.1", 3, 8), conv("Conv1", "bn_Conv1", 3, 8)
    for j in (1, 2, 3):
        parts = (("0.0", "0.1", "expand"), ("1.0", "1.1", "squeeze"), ("2", "3", "project"))
        for one, two, name in parts:
            a |= conv(f"features.{j}.conv.{one}", f"features.{j}.conv.{two}", 8, 8, 1)
            b |= conv(f"block_{j}_{name}", f"block_{j}_{name}_BN", 8, 8, 1)
    done = torch_to("torch", a, b)
    assert done.report.exit_code == 0
    assert pairs(done)["features.3.conv.2"] == "block_3_project"


def wired(file, names, first):
    """A residual block as a Keras config gives it: `first` lists the shortcut before the branch."""
    short, one, two = names
    lists = [short, one, two] if first else [one, two, short]
    entries, steps = {}, [Step("in", "input")]
    for name in lists:
        value = drawn(1, 1, 6, 6)
        entries[f"{name}/kernel"] = bn.checkpoints.Entry.of(f"{name}/kernel", value)
    place = {}
    for name in lists:
        steps.append(Step(name, "Conv2D", (place[one] if name == two else 0,)))
        place[name] = len(steps) - 1
    steps.append(Step("add", "Add", (place[two], place[short])))
    steps.append(Step("", OUTPUT, (len(steps) - 1,)))
    layers = {name: {"class_name": "Conv2D", "config": {"activation": "linear"}} for name in lists}
    return bn.checkpoints.Checkpoint(
        entries, file, "keras", {"layers": layers}, steps=tuple(steps)
    )  # fmt: skip


def test_a_shortcut_is_told_by_the_calls_of_both_sides():
    a = wired("keras", ("x", "y", "z"), first=True)
    b = wired("keras", ("p", "q", "r"), first=False)
    assert pairs(bn.convert(a, to="keras", like=b)) == {"x": "p", "y": "q", "z": "r"}


def test_what_two_assignments_remain_for_is_asked_and_not_dumped():
    a = {"p1.weight": drawn(5, 4, 1, 1), "p2.weight": drawn(5, 4, 1, 1)}
    names = ("b", "a")
    entries = {f"{n}/kernel": bn.checkpoints.Entry.of(f"{n}/kernel", drawn(1, 1, 4, 5))
               for n in names}  # fmt: skip
    steps = (Step("in", "input"), Step("b", "Conv2D", (0,)), Step("a", "Conv2D", (0,)),
             Step("c", "Concatenate", (1, 2)), Step("", OUTPUT, (3,)))  # fmt: skip
    like = bn.checkpoints.Checkpoint(entries, "keras", "keras", {}, steps=steps)
    done = torch_to("keras", a, like)
    assert not done.entries
    assert "giving this one pair is enough" in done.report.problems[0]
    assert not [line for line in done.map.splitlines() if line.startswith('"p1"')]
    done = torch_to("keras", a, like, map={"layers": {"p1": "a"}})
    assert pairs(done) == {"p1": "a", "p2": "b"}


def test_a_norm_goes_with_its_convolution_by_the_map():
    a = conv("x.conv1", "x.bn1", 6, 6, 1) | conv("x.conv2", "x.bn2", 6, 6, 1)
    b = conv("y.c_a", "y.n_a", 6, 6, 1) | conv("y.c_b", "y.n_b", 6, 6, 1)
    done = torch_to("torch", a, b, map={"layers": {"x.conv1": "y.c_b", "x.conv2": "y.c_a"}})
    assert pairs(done) == {
        "x.conv1": "y.c_b", "x.bn1": "y.n_b", "x.conv2": "y.c_a", "x.bn2": "y.n_a",
    }  # fmt: skip


@pytest.mark.skipif("GRAPH_1000" not in os.environ, reason="takes seconds: set GRAPH_1000")
def test_a_thousand_layers_are_matched():
    a, b = {}, {}
    for i in range(500):
        a |= conv(f"f.{i}.conv", f"f.{i}.bn", 8, 8, 1)
        b |= conv(f"net.block_{i}.c", f"net.block_{i}.n", 8, 8, 1)
    assert torch_to("torch", a, b).report.exit_code == 0


def test_a_graph_is_printed_with_its_edges(tmp_path):
    like = wired("keras", ("p", "q", "r"), first=False)
    found = bn.graph(like)
    assert found.wired
    assert "add  Add  ← r, p" in found.text()
    assert found.dot().startswith("digraph model {")
    assert ("q", "r") in set(found.edges())
    assert not bn.graph(conv("a", "b", 3, 3), framework="torch").wired


def chain(names, strides, activation, **known):
    """A convolution and what follows it, as a Keras config says them."""
    (name,) = names
    kernel = bn.checkpoints.Entry.of(f"{name}/kernel", drawn(3, 3, 4, 4))
    steps = (
        Step("in", "input"),
        Step(name, "Conv2D", (0,), {"strides": strides, "kernel_size": (3, 3), **known}),
        Step("act", activation, (1,)),
        Step("", OUTPUT, (2,)),
    )
    layers = {name: {"class_name": "Conv2D", "config": {"activation": "linear"}}}
    return bn.checkpoints.Checkpoint(
        {kernel.name: kernel}, "keras", "keras", {"layers": layers}, steps=steps
    )


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (((2, 2), "ReLU"), ((1, 1), "ReLU"), "strides 2 and 1"),
        (((1, 1), "ReLU"), ((1, 1), "relu6"), "relu and relu6 after it"),
        (((1, 1), "swish"), ((1, 1), "SiLU"), ""),
    ],
)
def test_what_no_array_holds_is_compared_where_both_sides_say_it(first, second, said):
    source, like = chain(["a"], *first), chain(["b"], *second)
    report = bn.convert(source, like=like, to="keras").report
    assert report.exit_code == bool(said)
    assert said in " ".join(report.doubts)


@pytest.mark.parametrize(
    ("padding", "said"),
    [("same", ""), ("valid", "padding ((0, 0), (0, 0)) and ((1, 1), (1, 1))")],
)
def test_paddings_are_compared_by_what_they_add(padding, said):
    source = chain(["a"], (1, 1), "ReLU", padding=padding)
    like = chain(["b"], (1, 1), "ReLU", padding=((1, 1), (1, 1)))
    doubts = bn.convert(source, like=like, to="keras").report.doubts
    assert bool(doubts) == bool(said)
    assert said in " ".join(doubts)
