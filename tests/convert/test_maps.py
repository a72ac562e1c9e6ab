"""A map's arrays are obeyed, a line without effect is an error, a dumped map is ready to edit."""

import numpy as np
import pytest
import tomllib

import batchnorm as bn
from batchnorm.errors import CheckpointError


def drawn(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def norm(path, channels, seed=0):
    names = ("weight", "bias", "running_mean", "running_var")
    return {f"{path}.{n}": drawn(channels, seed=seed + i) ** 2 for i, n in enumerate(names)}


STATE = {
    "a.weight": drawn(4, 4),
    "a.bias": drawn(4),
    **norm("n", 4),
    "b.weight": drawn(4, 4, seed=1),
    "b.bias": drawn(4, seed=1),
}
KERAS = bn.convert(STATE, from_framework="torch", to="keras").load()


def to_keras(arrays, state=STATE, like=KERAS, **more):
    map = {"version": 1, "arrays": arrays, **more}
    return bn.convert(state, from_framework="torch", to="keras", like=like, map=map)


def test_arrays_of_layers_that_are_paired_can_be_crossed():
    sent = {"a.weight": "b/kernel", "b.weight": "a/kernel", "a.bias": "b/bias", "b.bias": "a/bias"}
    done = to_keras(sent)
    assert done.report.exit_code == 0
    found = done.load()
    assert np.array_equal(found["b/kernel"], STATE["a.weight"].T)
    assert np.array_equal(found["a/bias"], STATE["b.bias"])


def test_what_the_map_crowds_out_is_unused():
    done = to_keras({"a.weight": "b/kernel"})
    assert done.report.exit_code == 1
    assert [row.source for row in done.report.of("unused")] == ["b.weight"]


def test_an_array_of_a_paired_layer_can_be_left_out():
    done = to_keras({"a.bias": ""})
    assert [row.source for row in done.report.of("left out")] == ["a.bias"]
    assert not done.load()["a/bias"].any()


@pytest.mark.parametrize("space", [(), (1,), (1, 1)])
def test_a_kernel_is_transposed_as_the_targets_layer_needs(space):
    state = {**STATE, "x.weight": STATE["a.weight"].reshape(4, 4, *space)}
    del state["a.weight"], state["a.bias"]
    done = to_keras({"x.weight": "a/kernel"}, state)
    assert np.array_equal(done.load()["a/kernel"], STATE["a.weight"].T)


def test_a_batch_norms_arrays_are_obeyed_without_a_template():
    done = bn.convert(
        STATE, from_framework="torch", to="mindspore",
        map={"arrays": {"n.running_mean": "m.mean", "n.bias": ""}},
    )  # fmt: skip
    assert "m.mean" in done.entries
    assert "n.moving_mean" not in done.entries
    assert [row.source for row in done.report.of("left out")] == ["n.bias"]


IDLE = {
    "an array's place that isn't there": ({"arrays": {"a.weight": "q/kernel"}}, "near it are"),
    "an array that isn't there": ({"arrays": {"q.weight": "a/kernel"}}, "doesn't have"),
    "a layer that isn't there": ({"layers": {"q": "a"}}, "doesn't have"),
    "flatten of a batch norm": ({"layers": {"n": {"flatten": [4, 1, 1]}}}, "no effect"),
    "fold without --fold": ({"fold": {"a": "n"}}, "say --fold"),
}


@pytest.mark.parametrize("case", IDLE)
def test_a_line_without_effect_is_an_error(case):
    map, match = IDLE[case]
    with pytest.raises(CheckpointError, match=match):
        bn.convert(STATE, from_framework="torch", like=KERAS, to="keras", map=map)


def crossed():
    """Two nets of one shape throughout, one in another order: nothing tells the pairs."""
    source, target = {}, {}
    for i, j in enumerate("abc"):
        source |= {f"left.{j}.c.weight": drawn(6, 6, 3, 3, seed=i), **norm(f"left.{j}.n", 6, i)}
    for q in "zxy":
        target |= norm(f"u.{q}.m", 6)
        target |= {f"u.{q}.k.weight": drawn(6, 6, 3, 3)}
    return source, target


def test_each_layer_without_counterpart_is_a_line_to_be_taken():
    source, target = crossed()
    done = bn.convert(source, like=target, from_framework="torch", to="torch")
    open_ = {row.layer for row in done.report.of("unused")}
    lines = done.map.splitlines()
    taken = [line[2:] if line.startswith('# "') else line for line in lines]
    layers = tomllib.loads("\n".join(taken))["layers"]
    assert open_ <= set(layers)
    for name in open_:
        (line,) = [line for line in lines if line.startswith(f'# "{name}"')]
        kind = ".m" if name.endswith("n") else ".k"
        assert layers[name].endswith(kind), line
    again = bn.convert(
        source, like=target, from_framework="torch", to="torch", map={"layers": layers}
    )
    assert again.report.exit_code == 0


def test_the_reason_names_what_a_layer_could_be_or_its_shape():
    source, target = crossed()
    done = bn.convert(source, like=target, from_framework="torch", to="torch")
    assert all("could be 'u." in row.what for row in done.report.of("unused"))
    done = bn.convert({**STATE}, like={"c.weight": drawn(3, 5)}, from_framework="torch", to="torch")
    assert all("shape (4, 4)" in r.what or "4 channels" in r.what for r in done.report.of("unused"))
    assert all("shape (3, 5)" in row.what for row in done.report.of("missing"))


def test_a_conversions_repr_is_a_screen():
    state = {f"{i}.{n}": v for i in range(300) for n, v in norm("n", 4).items()}
    text = repr(bn.convert(state, like={"x": drawn(3, 2, 1)}, from_framework="torch", to="torch"))
    assert len(text.splitlines()) <= 24
    assert max(map(len, text.splitlines())) < 200
    assert "exit code 1; nothing was written" in text
