"""Constraints give the projections, configurations and errors of Keras 2 and Keras 3."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from batchnorm.frameworks.keras import constraints

OBJECTS = [
    "None",
    "C.MaxNorm()",
    "C.MaxNorm(np.float32(0.1))",
    "C.MaxNorm(1, axis=(0, 1))",
    "C.MaxNorm('x')",
    "C.MinMaxNorm(rate=0.5, axis=[0, 1])",
    "C.NonNeg()",
    "C.UnitNorm(axis=None)",
    "C.Constraint()",
    "two",
    "Custom()",
]
DICTIONARIES = [
    "{'class_name': 'MaxNorm', 'config': {'max_value': 3}}",
    "{'class_name': 'max_norm', 'config': {}}",
    "{'class_name': 'MinMaxNorm', 'config': {'axis': [0, 1]}}",
    "{'module': 'keras.constraints', 'class_name': 'MaxNorm', 'config': {'max_value': 3, "
    "'axis': [0, 1]}, 'registered_name': None}",
    "{'module': 'keras.constraints', 'class_name': 'UnitNorm'}",
]
BAD = [
    *("'xx'", "''", "2.0", "True", "np.ones(2)", "[1]", "b'max_norm'", "object()", "{}"),
    "Uncallable()",
    "Plain()",
    "{'class_name': 'MaxNorm'}",
    "{'class_name': 'MaxNorm', 'config': None}",
    "{'class_name': 'nope', 'config': {}}",
    "{'class_name': 'MaxNorm', 'config': {'foo': 3}}",
    "{'module': None, 'class_name': 'MaxNorm', 'config': {}}",
    "C.MaxNorm",
    "C.NonNeg(1)",
]
DEVIATIONS = {
    "tf_keras": {
        "constraint({'module': 'm', 'class_name': 'nope', 'config': {}})": "TypeError",
        "project(C.NonNeg(), [-np.inf])": ["float32", [0.0]],
        "project(C.NonNeg(), [-1.0, 2.0], 'float64')": ["float64", [0.0, 2.0]],
    },
    "keras": {
        "constraint(lambda w: w)": "TypeError",
    },
}
VALUES = "[0.3, -0.7, 1.9, -2.25, 0.0, -0.0]"
MATRIX = "[[0.3, -0.7, 1.9], [-2.25, 0.0, -0.0]]"
RULES = [
    "C.Constraint()",
    "C.MaxNorm()",
    "C.MaxNorm(1.0)",
    "C.MaxNorm(1.0, axis=None)",
    "C.MaxNorm(10.0)",
    "C.MaxNorm(-1.0)",
    "C.UnitNorm()",
    "C.MinMaxNorm()",
    "C.MinMaxNorm(0.5, 0.9, 0.25)",
    "C.MinMaxNorm(5.0, 7.0, 0.25)",
    "C.MinMaxNorm(5.0, 1.0, 0.25)",
    "C.NonNeg()",
]


def test_names_mean_the_same_objects(keras):
    names = {*keras.names("constraint"), "maxnorm", "minmaxnorm", "radial_constraint"}
    assert len(names) > 10
    assert not keras.differing([f"constraint({name!r})" for name in sorted(names)])


def test_configurations_are_written_as_the_framework_writes_them(keras):
    assert not keras.differing([f"constraint({x})" for x in OBJECTS])


def test_dictionaries_are_read_as_the_framework_reads_them(keras):
    assert not keras.differing([f"constraint({x})" for x in DICTIONARIES])


def test_bad_values_raise_the_frameworks_exception_class(keras):
    assert not keras.differing([f"constraint({x})" for x in BAD])


def test_deviations_are_as_listed(keras):
    listed = DEVIATIONS[keras.dialect]
    for expression, real, ours in keras.both(listed):
        found = ours.get("error", ours.get("value"))
        assert found == listed[expression], expression
        assert repr(real.get("error", real.get("value"))) != repr(found), expression


# Relative: the framework rounds every step to the dtype, we only the result.
@pytest.mark.parametrize(
    ("dtype", "bound"),
    [("float32", 1e-6), ("float64", 1e-7), ("float16", 2.0**-8), ("bfloat16", 2.0**-5)],
)
def test_projections_are_the_frameworks(keras, dtype, bound):
    rules = RULES if keras.dialect == "keras" or dtype == "float32" else RULES[:-1]
    expressions = [f"project({rule}, {w}, {dtype!r})" for rule in rules for w in (VALUES, MATRIX)]
    for expression, real, ours in keras.both(expressions):
        assert ours["value"][0] == real["value"][0], expression
        np.testing.assert_allclose(
            ours["value"][1], real["value"][1], rtol=bound, atol=0, err_msg=expression
        )


def test_several_axes(keras):
    rules = ["C.MaxNorm(1.0, axis=1)", "C.UnitNorm([0, 1])", "C.MinMaxNorm(axis=-1)"]
    for expression, real, ours in keras.both([f"project({rule}, {MATRIX})" for rule in rules]):
        np.testing.assert_allclose(ours["value"][1], real["value"][1], 1e-6, err_msg=expression)


def test_values_that_are_not_finite(keras):
    rules = ["C.MaxNorm()", "C.UnitNorm()", "C.MinMaxNorm()"]
    expressions = [f"project({rule}, [np.inf, -np.inf, np.nan, 1.0])" for rule in rules]
    expressions += ["project(C.NonNeg(), [np.inf, np.nan, 1.0])"]
    assert not keras.differing(expressions)


def test_what_a_projection_cannot_be_applied_to(keras):
    expressions = [f"project(C.MaxNorm(axis=1), {VALUES})", f"project(C.MaxNorm('x'), {VALUES})"]
    assert not keras.differing(expressions)


def test_rings_of_radial_kernels_are_those_of_keras_2(started):
    shapes = [(3, 3, 2, 2), (4, 4, 1, 2), (5, 5, 1, 1), (2, 2, 1, 1), (6, 6, 1, 1), (7, 7, 2, 1)]
    shapes += [(3,), (1, 3, 1, 3), (3, 5, 1, 1), (1, 1, 1, 1)]
    kernel = "np.random.default_rng(1).standard_normal({}).astype('f4')"
    rule = "project(C.RadialConstraint(), {})"
    expressions = [rule.format(kernel.format(shape)) for shape in shapes]
    assert not started("tf_keras").differing(expressions)


VECTORS = npst.arrays(np.float64, st.integers(1, 20), elements=st.floats(-1e3, 1e3))


@given(VECTORS, st.floats(1e-3, 1e3), st.floats(0, 1), st.floats(0, 1))
def test_norms_end_within_their_bounds(w, high, share, rate):
    def norm(values):
        return math.hypot(*values)

    w = np.where(np.abs(w) < 1e-100, 0, w)  # whose squares underflow: in Keras' norm, too
    assert norm(constraints.MaxNorm(high)(w)) <= high * (1 + 1e-12)
    assert norm(constraints.UnitNorm()(w)) <= 1
    low = high * share
    between = norm(constraints.MinMaxNorm(low, high, rate)(w))
    ends = sorted([norm(w), min(max(norm(w), low), high)])
    fuzz = norm(w) / (1e-7 + norm(w))  # what Keras' stabiliser takes away
    assert ends[0] * fuzz * (1 - 1e-9) <= between <= ends[1] * (1 + 1e-9)


@given(VECTORS)
def test_non_negative_values_stay_and_others_are_zero(w):
    np.testing.assert_array_equal(constraints.NonNeg()(w), np.where(w > 0, w, 0))


def test_a_projection_leaves_its_argument_alone():
    w = np.array([-3.0, 4.0])
    for rule in (constraints.NonNeg(), constraints.UnitNorm(), constraints.MaxNorm(1)):
        rule(w)
    np.testing.assert_array_equal(w, [-3.0, 4.0])
