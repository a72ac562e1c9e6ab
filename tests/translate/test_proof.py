"""A proof holds for right translations and fails for wrong ones."""

from dataclasses import replace

import numpy as np
import pytest

import batchnorm as bn
from batchnorm.frameworks import find, known
from batchnorm.translate import proof as proof_module
from batchnorm.translate import reading, run, writing
from batchnorm.translate.argument import parse
from batchnorm.translate.call import parse_call
from batchnorm.translate.plan import Side, make_plan
from batchnorm.translate.proof import prove
from batchnorm.translate.run import roundoff
from batchnorm.translate.state import names_side_by_side
from batchnorm.translate.translation import translate

CALLS = {
    "torch": "nn.BatchNorm2d(8, eps=1e-4, momentum=0.3)",
    "mindspore": "nn.BatchNorm2d(8, eps=1e-4, momentum=0.7)",
    "tf_keras": "BatchNormalization(1, 0.7, 1e-4)",
    "mint": "mint.nn.BatchNorm2d(8, eps=1e-4, momentum=0.3)",
    "keras": "BatchNormalization(1, 0.7, 1e-4)",
}
PAIRS = [(a.name, b.name) for a in known() for b in known() if a.framework != b.framework]


def planned(source, target, call=None, **options):
    name = source.partition("@")[0]
    options = {"num_features": 8} | options
    found = parse_call(call or CALLS[name], find(source))
    return make_plan(found.form, found.arguments, find(target), **options)


def rows(proof):
    return {row.name: row for row in proof.rows}


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_every_pair_is_equal_or_different_as_predicted(source, target):
    made = planned(source, target)
    found = prove(made)
    assert found.holds, found
    named = {d.key for d in made.differences if d.kind == "predicted"}
    assert found.equal is not bool(named & {"running-variance-denominator"})
    assert len(found.rows) == 4 + 8 + 8


@pytest.mark.parametrize(
    ("source", "call", "rank"),
    [
        ("torch", "nn.BatchNorm1d(5)", 2),
        ("torch", "nn.BatchNorm1d(5)", 3),
        ("torch", "nn.BatchNorm3d(5, bias=False)", 5),
        ("torch", "nn.BatchNorm2d(5, dtype=torch.float64, momentum=0.01)", 4),
        ("torch", "nn.BatchNorm2d(5, dtype=torch.bfloat16)", 4),
        ("torch", "nn.BatchNorm2d(1, eps=1e-3)", 4),
        ("torch", "nn.BatchNorm2d(600)", 4),
        ("keras", "BatchNormalization(renorm=True, renorm_clipping={'rmax': 1.01})", 4),
        ("keras", "BatchNormalization(2, dtype='mixed_float16')", 4),
        ("keras", "BatchNormalization(0)", 4),
        ("tf_keras", "BatchNormalization(1, dtype='float64', momentum=.99)", 4),
        ("tf_keras", "BatchNormalization(fused=False, beta_initializer='ones')", 4),
        ("mindspore", "nn.BatchNorm2d(5, use_batch_statistics=True, affine=False)", 4),
        ("mindspore", "nn.BatchNorm2d(5, use_batch_statistics=False)", 4),
        ("mindspore", "nn.BatchNorm2d(5, data_format='NHWC', gamma_init=0.5)", 4),
    ],
)
@pytest.mark.parametrize("target", ["torch", "mindspore", "tf_keras", "keras"])
def test_other_settings_hold_too(source, call, rank, target):
    found = prove(planned(source, target, call, rank=rank))
    assert found.holds, [row for row in found.rows if not row.holds] or found.problems


def assert_one_place(row):
    """The numbers of a row belong together: what is left after the prediction is what was used."""
    left = abs(row.difference - row.predicted)
    assert left == pytest.approx(row.share * row.bound, rel=1e-9)
    assert row.share <= 1
    assert row.difference <= row.largest


def test_every_number_of_a_row_is_of_one_place():
    call = "tf.keras.layers.BatchNormalization(-1, 0.9, 1e-3)"
    for target in ("mindspore", "keras", "torch"):
        for row in prove(planned("tf_keras", target, call, num_features=64)).rows:
            assert_one_place(row)


def test_the_running_variance_differs_by_what_theory_says():
    """After k steps from the same start: (1 - (1 - f)^k) of n/(n-1) - 1, where var is constant."""
    found = rows(prove(planned("torch", "keras")))
    row = found["running_var after training"]
    assert_one_place(row)
    assert 0.5e-3 < row.largest / row.scale < 2e-3
    assert not row.equal
    assert found["y, training"].equal
    assert not found["y, inference"].equal


def test_keras_2_rounds_its_momentum_to_float32_which_shows_in_float64():
    made = planned("torch", "tf_keras", "nn.BatchNorm2d(8, dtype=torch.float64, momentum=0.01)")
    assert {"float32-momentum"} <= {d.key for d in made.differences}
    row = rows(prove(made))["running_mean after training"]
    assert row.holds
    assert not row.equal
    assert_one_place(row)
    assert row.predicted == pytest.approx(row.difference, rel=1e-3)


def test_the_fused_kernel_of_2_6_raises_epsilon():
    made = planned("torch", "tf_keras@2.6", "nn.BatchNorm2d(8)")
    assert "epsilon-clamp" in {d.key for d in made.differences}
    row = rows(prove(made))["y, training"]
    assert row.holds
    assert not row.equal


def test_a_cumulative_average_is_compared_with_the_target_default():
    made = planned("torch", "mindspore", "nn.BatchNorm2d(8, momentum=None)")
    row = rows(prove(made))["running_mean after training"]
    assert row.holds
    assert_one_place(row)
    assert row.difference == pytest.approx(row.predicted, rel=1e-4)
    assert row.largest > 0.1 * row.scale


def fails(made):
    found = prove(made)
    assert not found.holds
    return found


def test_an_un_inverted_momentum_is_caught(monkeypatch):
    rule = writing.WRITERS["weight_of_batch"]
    monkeypatch.setitem(writing.WRITERS, "weight_of_running", rule)
    fails(planned("torch", "keras"))


def test_an_un_inverted_momentum_is_caught_if_reading_and_writing_agree(monkeypatch):
    monkeypatch.setitem(reading.READERS, "weight_of_running", reading.READERS["weight_of_batch"])
    monkeypatch.setitem(writing.WRITERS, "weight_of_running", writing.WRITERS["weight_of_batch"])
    fails(planned("torch", "mindspore"))
    fails(planned("keras", "torch"))


def test_a_dropped_momentum_is_caught(monkeypatch):
    monkeypatch.setitem(writing.WRITERS, "weight_of_running", lambda *_: None)
    fails(planned("torch", "keras"))


@pytest.mark.parametrize(("source", "target"), [("torch", "keras"), ("keras", "mindspore")])
def test_an_epsilon_left_at_the_default_is_caught(monkeypatch, source, target):
    monkeypatch.setitem(writing.WRITERS, "epsilon", lambda *_: None)
    fails(planned(source, target))


def test_an_epsilon_off_by_a_thousandth_is_caught():
    made = planned("torch", "mindspore", "nn.BatchNorm2d(8, eps=1e-5)")
    wrong = {**made.target.arguments, "eps": parse("1.001e-5")}
    found = fails(replace(made, target=replace(made.target, arguments=wrong)))
    assert not rows(found)["y, training"].holds


def swapped(first, second):
    """State names carried over with two of them exchanged."""

    def carried(source, target):
        found = names_side_by_side(source, target)
        names = {first: second, second: first}
        return [replace(n, target=names.get(n.target, n.target)) for n in found]

    return carried


@pytest.mark.parametrize(
    ("first", "second"), [("gamma", "beta"), ("moving_mean", "moving_variance")]
)
def test_exchanged_state_is_caught(monkeypatch, first, second):
    monkeypatch.setattr(proof_module, "names_side_by_side", swapped(first, second))
    fails(planned("torch", "keras"))


def test_a_wrong_axis_is_caught_where_all_axes_have_one_length():
    made = planned("torch", "keras")
    wrong = {name: a for name, a in made.target.arguments.items() if name != "axis"}
    target = Side(made.target.form, wrong, made.target.canonical)
    found = prove(replace(made, target=target))
    assert found.shape == (8, 8, 8, 8)
    assert not found.holds
    assert not rows(found)["y, training"].holds


def test_a_wrong_denominator_is_caught(monkeypatch):
    monkeypatch.setattr(bn.keras.BatchNormalization, "correction", staticmethod(lambda: 1))
    found = fails(planned("torch", "keras"))
    assert not rows(found)["running_var after training"].holds
    assert rows(found)["running_mean after training"].holds


def test_wrong_initial_values_are_caught():
    made = planned("mindspore", "keras", "nn.BatchNorm2d(8, gamma_init=0.5)")
    wrong = {n: a for n, a in made.target.arguments.items() if n != "gamma_initializer"}
    found = fails(replace(made, target=replace(made.target, arguments=wrong)))
    assert not rows(found)["gamma at first"].holds


def test_lost_statistics_that_nobody_names_are_caught():
    made = planned("torch", "mindspore", "nn.BatchNorm2d(8, track_running_stats=False)")
    wrong = {n: a for n, a in made.target.arguments.items() if n != "use_batch_statistics"}
    fails(replace(made, target=replace(made.target, arguments=wrong), differences=()))


def test_a_parameter_too_many_is_caught_unless_it_is_named():
    made = planned("torch", "keras", "nn.BatchNorm2d(8, affine=False)")
    wrong = {n: a for n, a in made.target.arguments.items() if n not in ("center", "scale")}
    found = fails(replace(made, target=replace(made.target, arguments=wrong)))
    assert any("gradient of gamma" in problem for problem in found.problems)


def test_a_side_that_raises_is_a_problem_not_a_crash():
    made = planned("keras", "torch", "BatchNormalization(1, epsilon=0.0)")
    found = prove(made)
    assert not found.holds
    assert "eps must be positive" in found.problems[0]


def test_sides_whose_states_do_not_fit_are_not_run():
    found = prove(planned("tf_keras", "torch", "BatchNormalization([1, 3])"))
    assert not found.rows
    assert "channel_axis" in found.skipped
    assert not found.equal


def test_renorm_that_the_target_lacks_is_only_measured():
    found = prove(planned("keras", "torch", "BatchNormalization(1, renorm=True)"))
    row = rows(found)["y, training"]
    assert row.predicted is None
    assert row.largest > 0.01
    assert not row.equal


def test_expressions_have_stand_ins_that_are_named():
    made = planned("torch", "keras", "nn.BatchNorm2d(c, momentum=m if m else 0.1)")
    found = prove(made)
    assert found.holds
    assert found.stand_ins == {"c": 6, "m if m else 0.1": 0.07}


def test_a_proof_is_repeatable():
    assert prove(planned("torch", "keras")) == prove(planned("torch", "keras"))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_roundoff_covers_the_rounding_of_a_dtype(dtype):
    from batchnorm.vocabulary import as_dtype

    values = np.random.default_rng(0).uniform(1, 2, 10_000)
    rounded = values.astype(as_dtype(dtype)).astype(np.float64)
    worst = np.max(np.abs(rounded - values) / values)
    assert worst <= roundoff(dtype)
    assert dtype == "float64" or worst > 0.9 * roundoff(dtype)


def test_bounds_are_not_so_wide_that_nothing_could_fail():
    """Each stored quantity's bound is a few units of float32's last place of its own size."""
    for row in prove(planned("torch", "mindspore")).rows:
        if "training" in row.name:
            assert row.bound <= 8 * 2.0**-24 * row.scale, row


def test_translate_gives_the_proof_when_it_is_asked_for():
    found = translate("nn.BatchNorm2d(3)", from_="torch", to="mindspore")
    assert "proof" not in vars(found)
    assert found.proof is found.proof
    assert run.STEPS == 5
