"""Drawn cases: reproducible, tame, and of every setting; without any framework."""

import numpy as np
import pytest

import batchnorm as bn
from batchnorm.questions.subject import Ours, Raised
from batchnorm.verify.bad_calls import bad_calls
from batchnorm.verify.draw import LAYOUTS, Case, Seeded, Step, data, initial
from batchnorm.verify.play import play
from batchnorm.verify.verification import FRAMEWORKS, draw

LAYERS = {
    "torch": bn.torch.BatchNorm2d,
    "mindspore": bn.mindspore.BatchNorm2d,
    "tf_keras": bn.tf_keras.BatchNormalization,
    "keras": bn.keras.BatchNormalization,
}
# What decides no number: only the table of calls at the edge has it, or nothing does.
NOT_DRAWN = {
    "torch": {"device"},
    "mindspore": {"data_format"},
    "tf_keras": {
        *("beta_constraint", "gamma_constraint", "name", "dynamic", "input_dim", "input_shape"),
        *("batch_input_shape", "batch_size", "weights", "activity_regularizer", "autocast"),
        "implementation",
    },
    "keras": {
        *("beta_constraint", "gamma_constraint", "name", "input_dim", "input_shape"),
        *("activity_regularizer", "autocast"),
    },
}


def drawn(dialect, count=400):
    return [draw(Seeded(0, dialect, number), dialect) for number in range(count)]


@pytest.mark.parametrize("dialect", FRAMEWORKS)
def test_one_seed_draws_one_case(dialect):
    first, again = (draw(Seeded(5, dialect), dialect) for _ in range(2))
    assert str(first) == str(again)
    for a, b in zip(data(first, 0), data(again, 0), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dialect", FRAMEWORKS)
def test_every_parameter_is_drawn(dialect):
    seen = set().union(*(case.arguments for case in drawn(dialect)))
    assert set(LAYERS[dialect].PARAMETERS) - seen == NOT_DRAWN[dialect]


@pytest.mark.parametrize("dialect", FRAMEWORKS)
def test_modes_masks_layouts_dtypes_and_changes_are_drawn(dialect):
    steps = [step for case in drawn(dialect) for step in case.steps]
    assert {step.layout for step in steps} == set(LAYOUTS)
    assert {bool(step.training) for step in steps} == {True, False}
    assert {step.gradient for step in steps} == {True, False}
    assert any(step.changes for step in steps)
    assert any(0 in step.shape for step in steps)
    assert {case.loaded for case in drawn(dialect)} == {True, False}
    dtypes = {case.dtype for case in drawn(dialect)}
    assert dtypes >= {"float32", "float64", "float16", "bfloat16", "int32"}
    if dialect.endswith("keras"):
        assert {step.mask for step in steps} == {"", "some", "all", "none", "weights"}
        assert {len(step.shape) for step in steps} == {1, 2, 3, 4, 5, 6}
    else:
        assert {len(step.shape) for step in steps} == {2, 3, 4, 5}


@pytest.mark.parametrize("dialect", FRAMEWORKS)
def test_most_drawn_cases_run(dialect):
    cases = drawn(dialect, 100)
    played = [play(Ours(dialect), case) for case in cases]
    refused = [any(isinstance(o.value, Raised) for o in seen) for seen in played]
    assert sum(refused) < 60


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_moves_memory_and_no_value(layout):
    def x(layout):
        step = Step((3, 2, 4, 5), layout=layout)
        return data(Case("torch", "BatchNorm2d", {}, "float32", (1,), (step,)), 0).x

    np.testing.assert_array_equal(x(layout), x("contiguous"))
    if layout in ("strided", "reversed", "channels last"):
        assert not x(layout).flags.c_contiguous
    assert x(layout).flags.writeable == (layout != "read-only")


def test_data_are_tame():
    ratios = []
    for seed in range(50):
        step = Step((64, 3))
        x = data(Case("torch", "BatchNorm1d", {}, "float64", (1,), (step,), seed=seed), 0).x
        ratios.append(np.abs(x.mean(0)) / x.std(0))
    assert 5 < np.max(ratios) <= 10


def test_initial_state_depends_on_the_name_alone():
    case = drawn("torch", 1)[0]
    like = np.zeros(3, np.float32)
    np.testing.assert_array_equal(initial(case, "weight", like), initial(case, "weight", like))
    assert not np.array_equal(initial(case, "weight", like), initial(case, "bias", like))
    assert (initial(case, "running_var", like) > 0).all()
    assert initial(case, "num_batches_tracked", np.array(0)).dtype.kind == "i"


@pytest.mark.parametrize("dialect", FRAMEWORKS)
def test_calls_at_the_edge_have_names_of_their_own(dialect):
    names = [case.name for case in bad_calls(dialect)]
    assert len(names) == len(set(names)) > 100
    assert all(names)


@pytest.mark.parametrize("dialect", FRAMEWORKS)
def test_nothing_but_raised_leaves_our_layers(dialect):
    for case in bad_calls(dialect):
        play(Ours(dialect), case)
