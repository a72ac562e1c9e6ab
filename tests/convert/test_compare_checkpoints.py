"""`compare` says what differs, layer by layer, whatever the frameworks and formats."""

import numpy as np
import pytest

import batchnorm as bn


def state(seed=0):
    random = np.random.default_rng(seed)
    found = {}
    for index in range(2):
        shape = (4, 3 + index, 3, 3)
        found[f"c{index}.weight"] = random.normal(0, 1, shape).astype(np.float32)
        found[f"c{index}.bias"] = random.normal(0, 1, 4).astype(np.float32)
        for name in ("weight", "bias", "running_mean", "running_var"):
            found[f"n{index}.{name}"] = random.uniform(0.5, 2, 4).astype(np.float32)
    return found


@pytest.mark.parametrize("framework", ["torch", "mindspore", "keras", "tf_keras"])
def test_a_converted_state_is_equal(framework):
    other = bn.convert(state(), to=framework).load()
    found = bn.compare(state(), other)
    assert not found.differences
    assert found.equal == len(state())
    assert found.exit_code == 0


def test_the_first_layer_that_differs_comes_first():
    changed = state()
    changed["n1.running_var"] = changed["n1.running_var"] * 2
    changed["c0.weight"] = changed["c0.weight"].copy()
    changed["c0.weight"][1, 2, 0, 1] += 0.5
    other = bn.convert(changed, to="keras").load()
    found = bn.compare(state(), other)
    assert [(d.layer, d.role) for d in found.differences] == [
        ("c0", "weight"), ("n1", "running_var"),
    ]  # fmt: skip
    first = found.differences[0]
    assert first.where == (1, 2, 0, 1)
    assert first.largest == pytest.approx(0.5, rel=1e-6)
    assert first.values == 1
    assert found.exit_code == 1


def test_a_layer_of_one_side_only_differs():
    other = {n: v for n, v in state().items() if not n.startswith("n0")}
    found = bn.compare(state(), other)
    assert {(d.layer, d.kind) for d in found.differences} == {("n0", "only in A")}
    found = bn.compare(other, state())
    assert {(d.layer, d.kind) for d in found.differences} == {("n0", "only in B")}


def test_nan_in_the_same_place_is_equal_and_elsewhere_infinitely_far():
    one = state()
    one["n0.bias"][1] = np.nan
    assert not bn.compare(one, one).differences
    assert bn.compare(one, state()).differences[0].largest == np.inf


def test_tolerances():
    other = {n: v * np.float32(1 + 1e-5) for n, v in state().items()}
    assert bn.compare(state(), other).differences
    assert not bn.compare(state(), other, rtol=1e-4).differences
    assert not bn.compare(state(), other, atol=1e-2).differences


def test_a_gamma_of_1_that_one_side_does_not_save_is_no_difference():
    one = {**state(), "n0.weight": np.ones(4, np.float32)}
    other = {n: v for n, v in one.items() if n != "n0.weight"}
    assert not bn.compare(one, other).differences
    one["n0.weight"] = np.full(4, 2, np.float32)
    assert bn.compare(one, other).differences[0].role == "gamma"


def test_settings_are_compared_in_one_framework_s_words():
    a, b = bn.torch.BatchNorm2d(2, momentum=0.1), bn.mindspore.BatchNorm2d(2, momentum=0.75)
    found = bn.compare(a, b)
    assert [(d.role, d.kind) for d in found.differences] == [("momentum", "settings")]
    assert "momentum=0.1 and 0.25" in found.differences[0].detail
    assert not bn.compare(a, bn.mindspore.BatchNorm2d(2, momentum=0.9)).differences


def test_permuted_rows_are_found_by_the_record(tmp_path):
    made = state()
    made["fc.weight"] = np.arange(4 * 6 * 5, dtype=np.float32).reshape(5, 24)
    made["fc.bias"] = np.zeros(5, np.float32)
    a, b = tmp_path / "a.pth", tmp_path / "b.h5"
    bn.checkpoints.write(a, made)
    bn.convert(a, b, map={"layers": {"fc": {"flatten": [4, 2, 3]}}})
    assert not bn.compare(a, b).differences
    assert not bn.compare(b, a).differences


def test_what_only_keras_trains_with_is_no_difference_to_torch():
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    renorm = ("moving_stddev", "renorm_mean", "renorm_stddev")
    own = {f"n/{n}": np.full(3, i + 1.5) for i, n in enumerate(names + renorm)}
    other = bn.convert(own, to="torch", from_framework="tf_keras").load()
    assert not bn.compare(own, other, frameworks=("tf_keras", None)).differences
    less = {n: v for n, v in own.items() if "renorm" not in n}
    found = bn.compare(own, less, frameworks=("tf_keras", "tf_keras")).differences
    assert {d.role for d in found} == {"renorm_mean", "renorm_stddev"}


def test_a_shared_array_that_one_side_saves_once_is_no_difference():
    table = np.arange(12.0).reshape(4, 3)
    own = {**state(), "table.weight": table, "head.weight": table}
    other = {n: v for n, v in own.items() if n != "head.weight"}
    assert not bn.compare(own, other).differences
    assert not bn.compare(other, own).differences
    assert bn.compare({**own, "head.weight": table + 1}, other).differences


def test_large_whole_numbers_are_compared_to_the_last_digit():
    own, other = ({**state(), "steps": np.array([2**60 + i])} for i in (0, 1))
    assert [d.layer for d in bn.compare(own, other).differences] == ["steps"]
    own, other = ({**state(), "wave": np.array([1 + i * 1j])} for i in (0, 1))
    assert bn.compare(own, other).differences[0].largest == 1


def test_the_last_sentence_says_what_to_do():
    assert "nothing to do" in bn.compare(state(), state()).advice
    changed = state()
    changed["n1.running_var"] = changed["n1.running_var"] * 2
    advice = bn.compare(state(), changed).advice
    assert "only running statistics differ, in 1 layers" in advice
    assert "recalibrate" in advice
    changed["c0.weight"] = changed["c0.weight"] + 1
    assert "load c0" in bn.compare(state(), changed).advice
    assert "no array is equal" in bn.compare(state(), state(1)).advice
    fewer = {n: v for n, v in state().items() if not n.startswith("n0")}
    assert "--map" in bn.compare(state(), fewer).advice
