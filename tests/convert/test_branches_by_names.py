"""Blocks of several branches that one side lists otherwise: told by what stands beside what, by
numbers and letters that count, by the word of a shortcut."""

import numpy as np
import pytest

import batchnorm as bn
from batchnorm.checkpoints import Checkpoint, Entry
from batchnorm.checkpoints.steps import OUTPUT, Step

random = np.random.default_rng(0)
TORCH = ("weight", "bias", "running_mean", "running_var")


def drawn(*shape):
    return random.normal(size=shape).astype("f4")


def conv(path, after, i, o, k=(3, 3)):
    found = {f"{path}.weight": drawn(o, i, *k)}
    return found | {f"{after}.{name}": drawn(o) ** 2 for name in TORCH}


def layer(name):
    return name.replace("/", ".").rpartition(".")[0]


def pairs(done):
    rows = [row for row in done.report.rows if row.source and row.target]
    return {layer(row.source): layer(row.target) for row in rows}


class Config:
    """A Keras file with a config: convolutions with their norms, and how they are connected."""

    def __init__(self):
        self.entries, self.layers, self.steps = {}, {}, [Step("in", "input")]

    def conv(self, name, before, i, o, k=(3, 3), scale=True):
        self.step(name, "Conv2D", before, kernel=(*k, i, o))
        arrays = {"gamma": (o,)} if scale else {}
        arrays |= dict.fromkeys(("beta", "moving_mean", "moving_variance"), (o,))
        return self.step(f"{name}_bn", "BatchNormalization", (len(self.steps) - 1,), **arrays)

    def step(self, name, what, before, **arrays):
        for leaf, shape in arrays.items():
            self.entries[f"{name}/{leaf}"] = Entry.of(f"{name}/{leaf}", np.zeros(shape, "f4"))
        self.layers[name] = {"class_name": what, "config": {"activation": "linear"}}
        self.steps.append(Step(name, what, tuple(before)))
        return len(self.steps) - 1

    def file(self):
        steps = (*self.steps, Step("", OUTPUT, (len(self.steps) - 1,)))
        return Checkpoint(self.entries, "keras", "keras", {"layers": self.layers}, steps=steps)


FORKED = {  # names of two stems, each of which forks, in two zoos
    "number and letter": ("m.branch3x3_1", "m.branch3x3_2a", "m.branch3x3_2b",
                          "m.branch3x3dbl_2", "m.branch3x3dbl_3a", "m.branch3x3dbl_3b"),
    "letter alone": ("m.branch1", "m.branch1a", "m.branch1b",
                     "m.branch2.1", "m.branch2a", "m.branch2b"),
}  # fmt: skip


@pytest.mark.parametrize("zoo", FORKED)
def test_two_forks_of_one_shape_are_told_by_what_they_fork_from(zoo):
    names = FORKED[zoo]
    inputs, sizes = (8, 4, 4, 8, 4, 4), ((1, 1), (1, 3), (3, 1)) * 2
    source = {}
    for n, (name, i, k) in enumerate(zip(names, inputs, sizes, strict=True)):
        source |= conv(f"{name}.conv", f"{name}.bn", i + (n == 3), 4, k)
    like = Config()
    stems = [like.conv("t3", (0,), 9, 4, (1, 1)), like.conv("t0", (0,), 8, 4, (1, 1))]
    ends = []
    for stem, own in zip(stems, ((4, 5), (1, 2)), strict=True):
        forks = [like.conv(f"t{n}", (stem,), 4, 4, sizes[n]) for n in own]
        ends.append(like.step(f"cat{own[0]}", "Concatenate", forks))
    like.step("cat", "Concatenate", ends)
    done = bn.convert(source, like=like.file(), from_framework="torch", to="keras")
    assert done.report.exit_code == 0, done.report.problems
    want = {f"{name}.conv": f"t{n}" for n, name in enumerate(names)}
    want |= {f"{name}.bn": f"t{n}_bn" for n, name in enumerate(names)}
    assert pairs(done) == want


@pytest.mark.parametrize(
    ("names", "branch"), [(("f.a", "f.b", "f.c"), "proj"), (("rep.1", "rep.3", "rep.4"), "skip")]
)
def test_letters_and_numbers_count_beside_a_shortcut(names, branch):
    source = conv(f"s.{branch}.0", f"s.{branch}.1", 6, 6, (1, 1))
    sizes = ((1, 1), (3, 3), (1, 1))
    for name, size in zip(names, sizes, strict=True):
        source |= conv(f"s.{name}.0", f"s.{name}.1", 6, 6, size)
    like = {}
    others = ("conv1", "conv2", "conv3", "downsample")
    for name, size in zip(others, (*sizes, (1, 1)), strict=True):
        like |= conv(f"t.{name}.conv", f"t.{name}.bn", 6, 6, size)
    done = bn.convert(source, like=like, from_framework="torch", to="torch")
    assert done.report.exit_code == 0, done.report.problems or done.report.doubts
    found = {a: b for a, b in pairs(done).items() if a.endswith(".0")}
    want = zip((*names, branch), others, strict=True)
    assert found == {f"s.{a}.0": f"t.{b}.conv" for a, b in want}


def test_the_norm_of_a_shortcut_is_told_by_a_word_that_is_glued_to_its_class():
    source = {"b.skip.weight": drawn(6, 6, 1, 1), "b.rep.weight": drawn(6, 6, 3, 3)}
    source |= {f"b.{n}.{leaf}": drawn(6) ** 2 for n in ("skipbn", "rep_bn") for leaf in TORCH}
    like = conv("t.main.conv", "t.main.bn", 6, 6) | conv("t.short.conv", "t.short.bn", 6, 6, (1, 1))
    done = bn.convert(source, like=like, from_framework="torch", to="torch")
    assert pairs(done)["b.skipbn"] == "t.short.bn"
    assert pairs(done)["b.rep_bn"] == "t.main.bn"


def test_the_norm_beside_the_stems_convolution_is_taken_for_its_own_and_asked_about():
    """Names alone, on both sides, can agree on what stands together and mislead."""
    source = {"conv_stem.weight": drawn(6, 3, 3, 3)}
    source |= {f"bn1.{leaf}": drawn(6) ** 2 for leaf in TORCH}
    like = {"f.0.0.weight": drawn(6, 3, 3, 3)}
    like |= {f"f.0.1.{leaf}": drawn(6) ** 2 for leaf in TORCH}
    for b in range(2):
        source |= conv(f"blocks.{b}.conv_dw", f"blocks.{b}.bn1", 1, 6)
        like |= conv(f"f.{b + 1}.block.0", f"f.{b + 1}.block.1", 1, 6)
    done = bn.convert(source, like=like, from_framework="torch", to="torch")
    assert done.report.exit_code == 1
    assert "--assume-order" in done.report.doubts[0]
    assert pairs(done)["bn1"] == "f.0.1"


def test_a_few_pairs_that_listing_alone_tells_apart_are_asked_for_among_many():
    source, like = {}, {}
    for n in range(40):
        source |= conv(f"a.{n}.conv", f"a.{n}.bn", 6 + n, 7 + n)
        like |= conv(f"b.{n}.conv", f"b.{n}.bn", 6 + n, 7 + n)
    source |= {f"a.end.{n}.weight": drawn(5, 47) for n in ("left", "right")}
    like |= {f"b.end.{n}.weight": drawn(5, 47) for n in ("upper", "lower")}
    done = bn.convert(source, like=like, from_framework="torch", to="torch")
    assert done.report.exit_code == 1
    assert "'a.end.left' and 'a.end.right'" in done.report.doubts[0]


def scaled(consumers=1):
    source = conv("c", "n", 3, 4)
    like = Config()
    end = like.conv("t", (0,), 3, 4, scale=False)
    if consumers > 1:
        like.step("add", "Add", (end, end - 1))
    return source, bn.convert(source, like=like.file(), from_framework="torch", to="keras")


def test_a_scale_that_the_target_has_no_place_for_goes_into_the_kernel_before_it():
    source, done = scaled()
    assert done.report.exit_code == 0, done.report.problems
    found = {name: value.astype(np.float64) for name, value in done.load().items()}
    x = random.normal(size=(5, 3, 3, 3))
    y = np.einsum("nihw,oihw->no", x, source["c.weight"].astype(np.float64))
    want = (y - source["n.running_mean"]) / np.sqrt(source["n.running_var"] + 1e-3)
    want = want * source["n.weight"] + source["n.bias"]
    y = np.einsum("nihw,hwio->no", x, found["t/kernel"])
    got = (y - found["t_bn/moving_mean"]) / np.sqrt(found["t_bn/moving_variance"] + 1e-3)
    assert np.allclose(got + found["t_bn/beta"], want, 1e-5, 1e-5)
    (row,) = done.report.of("folded")
    assert (row.source, row.what) == ("n.weight", "multiplied into c, which comes before")
    assert any("1 scales" in note and "training" in note for note in done.report.notes)


def test_no_scale_goes_into_a_kernel_whose_output_others_take_too():
    _, done = scaled(consumers=2)
    assert done.report.exit_code == 1
    assert [row.source for row in done.report.of("unused")] == ["n.weight"]


def test_a_module_without_place_is_left_out_by_one_line_that_the_message_gives():
    source = conv("a.conv", "a.bn", 3, 4) | conv("head.x.conv", "head.x.bn", 4, 5)
    like = conv("b.conv", "b.bn", 3, 4)
    options = {"like": like, "from_framework": "torch", "to": "torch"}
    done = bn.convert(source, **options)
    assert done.report.exit_code == 1
    assert any('"head" = "" in the map' in problem for problem in done.report.problems)
    done = bn.convert(source, map={"layers": {"head": ""}}, **options)
    assert done.report.exit_code == 0
    assert {row.layer for row in done.report.of("left out")} == {"head.x.conv", "head.x.bn"}
