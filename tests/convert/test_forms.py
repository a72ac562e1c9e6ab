"""What differs in form only converts: a bias on one side, a dense layer and a 1x1 convolution."""

import itertools

import numpy as np
import pytest

import batchnorm as bn


def drawn(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def norm(path, channels):
    names = ("weight", "bias", "running_mean", "running_var")
    return {f"{path}.{n}": drawn(channels, seed=i) ** 2 for i, n in enumerate(names)}


def net(bias):
    found = {}
    for path, shape in {"stem": (6, 3, 3, 3), "mid": (5, 6, 1, 1)}.items():
        found[f"{path}.weight"] = drawn(*shape)
        if bias:
            found[f"{path}.bias"] = drawn(shape[0], seed=7)
        found |= norm(f"{path}_bn", shape[0])
    return found


def renamed(state):
    """The same net with names of another style, so that order pairs and not names."""
    words = {"stem": "a", "mid": "b"}
    return {
        n.replace("_bn", ".norm").replace(w, f"x{words[w]}"): v
        for n, v in state.items()
        for w in words
        if n.startswith(w)
    }


def torch_to(state, like, **options):
    return bn.convert(state, like=like, from_framework="torch", to="torch", **options)


@pytest.mark.parametrize("rename", [dict, renamed], ids=["same names", "other names"])
def test_a_bias_that_only_the_target_has_is_zero_and_not_the_templates(rename):
    done = torch_to(net(False), rename(net(True)))
    assert done.report.exit_code == 0, done.report.problems
    found = done.load()
    biases = [n for n in found if n.endswith(".bias") and "norm" not in n and "bn" not in n]
    assert len(biases) == 2
    assert not any(found[n].any() for n in biases)


@pytest.mark.parametrize("rename", [dict, renamed], ids=["same names", "other names"])
def test_a_bias_that_only_the_source_has_leaves_the_mean_of_the_norm_after_it(rename):
    state = net(True)
    done = torch_to(state, rename(net(False)))
    assert done.report.exit_code == 0, done.report.problems
    found = done.load()
    for path, place in (("stem", "stem_bn"), ("mid", "mid_bn")):
        name = f"{place}.running_mean"
        wanted = (state[name].astype(np.float64) - state[f"{path}.bias"]).astype(np.float32)
        mean = found[next(iter(rename({name: 0})))]
        assert np.array_equal(mean, wanted)
    (row, _) = done.report.of("folded")
    assert row.source == "stem.bias"
    assert "running mean of stem_bn" in row.what
    assert any("2 biases" in note and "rounding" in note for note in done.report.notes)


def test_a_bias_without_a_batch_norm_after_it_is_not_lost_and_the_way_out_is_said():
    state = {"fc.weight": drawn(4, 3), "fc.bias": drawn(4)}
    done = torch_to(state, {"fc.weight": drawn(4, 3)})
    (row,) = done.report.of("unused")
    assert done.report.exit_code == 1
    assert "running mean" in row.what


def test_the_maps_fold_says_which_norm_takes_a_bias():
    state = {
        "c.weight": drawn(4, 3, 1, 1),
        "c.bias": drawn(4),
        "d.weight": drawn(9, 2),
        **norm("n", 4),
    }
    like = {n: v for n, v in state.items() if n != "c.bias"}
    assert torch_to(state, like).report.exit_code == 1
    done = torch_to(state, like, map={"fold": {"c": "n"}})
    assert done.report.exit_code == 0
    wanted = state["n.running_mean"].astype(np.float64) - state["c.bias"]
    assert np.array_equal(done.load()["n.running_mean"], wanted.astype(np.float32))


def test_no_bias_goes_into_a_norm_that_does_not_follow_in_the_target():
    """The source lists c, n, d, m; the target has n after d."""
    state = {"c.weight": drawn(4, 4), "c.bias": drawn(4), **norm("n", 4)}
    state |= {"d.weight": drawn(4, 4), "d.bias": drawn(4, seed=1), **norm("m", 4)}
    parts = ["c.weight", *norm("m", 4), "d.weight", *norm("n", 4)]
    done = torch_to(state, {n: state[n] for n in parts})
    assert done.report.exit_code == 1
    assert {row.source for row in done.report.of("unused")} == {"c.bias", "d.bias"}


SPACES = [(1,), (1, 1), (1, 1, 1)]
WAYS = [*itertools.product(SPACES, ("torch", "keras"), ("torch", "mindspore", "keras"))]


@pytest.mark.parametrize(("space", "source", "target"), WAYS)
def test_a_kernel_whose_other_axes_are_1_is_a_dense_one_in_every_framework(space, source, target):
    """Both ways; the matrix that multiplies is the same."""

    def laid(framework, matrix, space):
        if framework == "keras":
            return {"up/kernel": matrix.T.reshape(*space, *matrix.T.shape)}
        return {"up.weight": matrix.reshape(*matrix.shape, *space)}

    def at(framework, path):
        sep, words = ("/", ("gamma", "beta", "moving_mean", "moving_variance")) if (
            framework == "keras"
        ) else (".", ("weight", "bias", "running_mean", "running_var"))  # fmt: skip
        if framework == "mindspore":
            words = ("gamma", "beta", "moving_mean", "moving_variance")
        return {f"{path}{sep}{w}": drawn(8, seed=3) for w in words}

    matrix = drawn(8, 2)
    for mine, theirs in ((space, ()), ((), space)):
        state = {**at(source, "n"), **laid(source, matrix, mine)}
        like = {**at(target, "n"), **laid(target, matrix * 0, theirs)}
        done = bn.convert(state, like=like, from_framework=source, to=target)
        assert done.report.exit_code == 0, done.report.problems
        (name,) = laid(target, matrix, theirs)
        assert np.array_equal(done.load()[name], laid(target, matrix, theirs)[name])


@pytest.mark.parametrize("target", ["torch", "mindspore", "keras"])
@pytest.mark.parametrize("source", ["torch", "keras"])
@pytest.mark.parametrize("dense_first", [True, False])
def test_a_pair_of_the_map_may_be_a_dense_layer_and_a_convolution_in_the_place_of_flatten(
    source, target, dense_first
):
    """Each framework's Flatten has its own order, and so has its kernel of a convolution."""

    def laid(framework, kernel, dense):
        if framework == "keras":
            kernel = kernel.transpose(2, 3, 1, 0)
            return {"head/kernel": kernel.reshape(-1, kernel.shape[-1]) if dense else kernel}
        return {"head.weight": kernel.reshape(len(kernel), -1) if dense else kernel}

    kernel = drawn(5, 4, 3, 2)
    state, wanted = laid(source, kernel, dense_first), laid(target, kernel, not dense_first)
    like = {name: value * 0 for name, value in wanted.items()}
    norms = {"torch": "weight bias running_mean running_var"}
    for framework, to in ((source, state), (target, like)):
        words = norms.get(framework, "gamma beta moving_mean moving_variance").split()
        to |= {f"n{'/' if framework == 'keras' else '.'}{w}": drawn(4) ** 2 for w in words}
    options = {"like": like, "from_framework": source, "to": target}
    asked = bn.convert(state, **options)
    assert asked.report.exit_code == 1
    assert "could be 'head'" in asked.report.of("unused")[0].what
    done = bn.convert(state, map={"layers": {"head": "head"}}, **options)
    assert done.report.exit_code == 0, done.report.problems
    (name,) = wanted
    np.testing.assert_array_equal(done.load()[name], wanted[name])
    assert "flattened" in next(row.what for row in done.report.rows if row.layer == "head")


def test_a_transposed_or_larger_kernel_is_no_dense_one():
    state = {"up.weight": drawn(8, 2, 3, 3)}
    assert torch_to(state, {"up.weight": drawn(8, 2)}).report.exit_code == 1
    kind = {"layers": {"up": {"to": "up", "kind": "conv_transpose"}}}
    with pytest.raises(ValueError, match="shape"):
        torch_to({"up.weight": drawn(8, 8, 1, 1)}, {"up.weight": drawn(8, 8)}, map=kind)


def test_entries_of_a_written_conversion_can_still_be_loaded(tmp_path):
    bn.convert(net(True), tmp_path / "a.pth", from_framework="torch")
    done = bn.convert(tmp_path / "a.pth", tmp_path / "b.ckpt")
    assert np.array_equal(done.load()["stem.weight"], net(True)["stem.weight"])
