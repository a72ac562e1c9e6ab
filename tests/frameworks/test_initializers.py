"""Initializers give the values, configurations and errors of Keras 2, Keras 3 and MindSpore."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchnorm.errors import BatchNormError
from batchnorm.frameworks.keras import initializers
from batchnorm.frameworks.mindspore import initial

SCALED = [f"{who}{what}" for who in ("Glorot", "He", "Lecun") for what in ("Normal", "Uniform")]
RANDOM = ["RandomNormal", "RandomUniform", "TruncatedNormal", "VarianceScaling", *SCALED]
OBJECTS = [
    "None",
    "I.Zeros()",
    "I.Ones",
    "I.HeNormal",
    "I.Constant(3)",
    "I.Constant(True)",
    "I.Constant(np.float32(0.1))",
    "I.Constant(np.arange(3))",
    "I.Constant([1, 2])",
    "I.RandomNormal(1.0, 2.0, seed=3)",
    "I.RandomNormal(stddev=np.float64(0.5))",
    "I.TruncatedNormal(seed=-1)",
    "I.RandomUniform(0, 1, 5)",
    "I.VarianceScaling(2.0, 'fan_out', 'normal', 1)",
    "I.VarianceScaling(distribution='Uniform')",
    "I.GlorotUniform(7)",
    "I.Identity(2.0)",
    "I.Orthogonal(2.0, 3)",
    "two",
    "np.ones",
    "print",
    "Custom()",
    "Custom",
    "Local()",
]
DICTIONARIES = [
    "{'class_name': 'Ones', 'config': {}}",
    "{'class_name': 'ones', 'config': {}}",
    "{'class_name': 'Ones', 'config': {'dtype': 'float32'}}",
    "{'module': 'keras.initializers', 'class_name': 'Ones', 'config': {}, 'registered_name': None}",
    "{'module': 'other', 'class_name': 'Ones'}",
    "{'module': 'other', 'class_name': 'Ones', 'config': None}",
    "{'class_name': 'Constant', 'config': {'value': 3}}",
    "{'class_name': 'Constant', 'config': {'value': {'class_name': '__numpy__', 'config': "
    "{'value': [1.0, 2.0], 'dtype': 'float64'}}}}",
    "{'class_name': 'RandomNormal', 'config': {'mean': 1.0, 'stddev': 2.0, 'seed': 3}}",
    "{'class_name': 'HeNormal', 'config': {'seed': 1, 'dtype': 'float32'}}",
    "{'class_name': 'HeNormal', 'config': {'seed': 1, 'input_axes': None}}",
    "{'class_name': 'Identity', 'config': {'gain': 2.0}}",
]
BAD = [
    *("'xx'", "''", "'ZEROS'", "'Zeross'"),
    *("2.0", "0", "True", "1j", "[1]", "(1,)", "b'zeros'", "object()"),
    *("Uncallable()", "{}", "{'class_name': 'Ones'}", "{'config': {}}"),
    "{'class_name': 'Ones', 'config': None}",
    "{'class_name': 'Ones', 'config': 'x'}",
    "{'class_name': 'Ones', 'config': [1]}",
    "{'class_name': 'nope', 'config': {}}",
    "{'class_name': 3, 'config': {}}",
    "{'class_name': 'Constant', 'config': {'foo': 3, 'value': 1}}",
    "{'class_name': 'RandomNormal', 'config': {'foo': 3}}",
    "{'module': None, 'class_name': 'Ones', 'config': {}}",
    "{'class_name': 'VarianceScaling', 'config': {'scale': -1}}",
    "Plain()",
    "Plain",
    "I.VarianceScaling(scale=0.0)",
    "I.VarianceScaling(scale='x')",
    "I.VarianceScaling(mode='x')",
    "I.VarianceScaling(distribution='x')",
    "I.VarianceScaling(distribution=3)",
    "I.Zeros(1)",
    "I.RandomNormal(foo=1)",
]
# Expression, and what ours says where the framework says something else (module docstrings).
DEVIATIONS = {
    "tf_keras": {
        "initializer('Initializer')": "ValueError",
        "initializer({'module': 'm', 'class_name': 'nope', 'config': {}})": "TypeError",
        "initializer(lambda shape, dtype=None: 1)": "TypeError",
        "initializer(I.RandomNormal(seed='x'))": "ValueError",
        "first(I.Constant(2.5), 'int32')": ["int32", [2, 2, 2]],
        "first(I.Constant([1, 2]))": "ValueError",
        "first(I.RandomUniform(0, 10), 'int32')": "ValueError",
    },
    "keras": {
        "initializer('Constant')": "ValueError",
        "initializer('initializer')": "ValueError",
        "initializer('stft')": "ValueError",
        "initializer(lambda shape, dtype=None: 1)": "TypeError",
        "initializer(I.RandomNormal(seed=np.int64(3)))['config']['seed']": 3,
        "first(lambda shape, dtype=None: np.ones(4))": "ValueError",
        "first(I.Constant(1j))": "TypeError",
        "first('random_normal', 'int32')": "ValueError",
        "first(I.Constant(1e39))": ["float32", [float("inf")] * 3],
    },
}


def test_names_mean_the_same_objects(keras):
    unknown_here = {"Initializer", "initializer", "STFT", "stft", "STFTInitializer"}
    without_value = {"Constant", "constant"} if keras.dialect == "keras" else set()
    names = set(keras.names("initializer")) - unknown_here - without_value
    assert len(names) > 30
    assert not keras.differing([f"initializer({name!r})" for name in sorted(names)])


def test_configurations_are_written_as_the_framework_writes_them(keras):
    assert not keras.differing([f"initializer({x})" for x in OBJECTS])


def test_dictionaries_are_read_as_the_framework_reads_them(keras):
    assert not keras.differing([f"initializer({x})" for x in DICTIONARIES])


def test_bad_values_raise_the_frameworks_exception_class(keras):
    assert not keras.differing([f"initializer({x})" for x in BAD])


def test_keras_3_alone_has_axes_and_arrays(keras):
    axes = "I.VarianceScaling(input_axes=[0], output_axes=[0])"
    expressions = [f"initializer({axes})", "initializer(np.ones(3))", "initializer(np.float32(2))"]
    assert not keras.differing(expressions)


def test_first_values_are_the_same(keras):
    rules = ["'zeros'", "'ones'", "I.Constant(2.5)", "I.Constant(np.float64(0.1))", "two"]
    rules += ["I.Constant(np.arange(3.0))", "I.Constant([2.0])"]
    rules += ["I.Constant(1e39)"] if keras.dialect == "tf_keras" else []
    rules += ["lambda shape, dtype=None: [1, 2, 3]"]
    dtypes = ["None", "'float16'", "'bfloat16'", "'float64'", "'mixed_float16'"]
    expressions = [f"first({rule}, {dtype})" for rule in rules for dtype in dtypes]
    expressions += [f"first({r}, 'int32')" for r in ("'zeros'", "'ones'", "None", "I.Constant(2)")]
    expressions += ["first('ones', 'bool')", "first(None, 'bool')", "first(None, 'complex64')"]
    assert not keras.differing(expressions)


def test_rules_that_cannot_fill_a_vector_raise_the_frameworks_exception_class(keras):
    rules = ["'identity'", "'orthogonal'", "I.Constant(None)", "lambda shape: 1"]
    rules += ["lambda shape, dtype=None: None", "lambda shape, dtype=None: 'x'"]
    expressions = [f"first({rule})" for rule in rules]
    if keras.dialect == "keras":
        expressions += ["first(np.ones(4))", "first(np.ones((1, 3)))", "first(np.float32(2))"]
        expressions += ["first(np.arange(3), 'float16')"]
    else:
        expressions += ["first('he_normal', 'int32')", "first('random_normal', 'bool')"]
        expressions += ["first(lambda shape, dtype=None: np.ones(4))", "first(I.Constant('x'))"]
    assert not keras.differing(expressions)


def test_matrices_of_keras_2s_multi_axis_layers(keras):
    assert not keras.differing(["matrix(I.Identity(2.0), (2, 3))"])
    for shape in ((3, 5), (5, 3), (2, 2, 3)):
        values = initializers.Orthogonal(2.0, seed=1)(shape).reshape(-1, shape[-1])
        values = values if len(values) >= shape[-1] else values.T
        np.testing.assert_allclose(values.T @ values, 4 * np.eye(values.shape[1]), atol=1e-5)


@pytest.mark.parametrize(
    "rule",
    [
        "I.RandomNormal(5.0, 2.0, seed=1)",
        "I.TruncatedNormal(5.0, 2.0, seed=1)",
        "I.RandomUniform(1.0, 3.0, seed=1)",
        "I.VarianceScaling(2.0, 'fan_out', 'untruncated_normal', seed=1)",
        "I.VarianceScaling(seed=1)",
        *(f"I.{name}(seed=1)" for name in SCALED),
    ],
)
def test_random_values_have_the_frameworks_distribution(keras, rule):
    expressions = [f"draw({rule}, {shape})" for shape in ((100000,), (10, 10000), (5, 5, 40, 100))]
    for expression, real, ours in keras.both(expressions):
        low, high, mean, std = real["value"]
        our_low, our_high, our_mean, our_std = ours["value"]
        # 4.5 and 6 standard errors of the difference of two samples of 1e5 values.
        assert our_mean == pytest.approx(mean, abs=0.02 * std), expression
        assert our_std == pytest.approx(std, rel=0.02), expression
        if "RandomNormal" not in rule and "untruncated" not in rule:
            reach = 1e-3 * (high - low)
            assert (our_low, our_high) == pytest.approx((low, high), abs=reach), expression


def test_axes_make_up_the_fans(started):
    keras = started("keras")
    rule = "I.HeUniform(seed=1, input_axes=[0], output_axes=[1, 2])"
    ((_, real, ours),) = keras.both([f"draw({rule}, (7, 100, 200))"])
    assert ours["value"] == pytest.approx(real["value"], rel=0.02, abs=0.01)


def test_an_object_returns_the_same_values_at_every_call(keras):
    assert not keras.differing([f"twice(I.{name}())" for name in RANDOM])


def test_deviations_are_as_listed(keras):
    listed = DEVIATIONS[keras.dialect]
    for expression, real, ours in keras.both(listed):
        found = ours.get("error", ours.get("value"))
        assert found == listed[expression], expression
        assert real.get("error", real.get("value")) != found, f"no deviation any more: {expression}"


def test_unseeded_objects_follow_pythons_random():
    def drawn():
        random.seed(5)
        return initializers.RandomNormal()((4,))

    np.testing.assert_array_equal(drawn(), drawn())
    assert not np.array_equal(initializers.RandomNormal()((4,)), initializers.RandomNormal()((4,)))


def test_an_unknown_name_gets_a_suggestion():
    with pytest.raises(BatchNormError, match="did you mean 'glorot_uniform'"):
        initializers.get("glorot_unifrom", "keras")


@given(
    st.sampled_from(RANDOM),
    st.integers(-(2**70), 2**70),
    st.integers(1, 50),
    st.sampled_from(["float16", "bfloat16", "float32", "float64"]),
)
def test_a_written_rule_reads_back_as_the_same_rule(name, seed, channels, dtype):
    rule = getattr(initializers, name)(seed=seed)
    values = initializers.initial_value(rule, (channels,), dtype, "keras")
    for dialect in ("tf_keras", "keras"):
        again = initializers.get(initializers.serialize(rule, dialect), dialect)
        read = initializers.initial_value(again, (channels,), dtype, dialect)
        np.testing.assert_array_equal(read, values)
    assert (values.dtype.name, values.shape) == (dtype, (channels,))


DRAWN_BY_MINDSPORE = ["normal", "truncatednormal", "uniform"]


def test_mindspore_names_numbers_and_arrays(started):
    mindspore = started("mindspore")
    names = set(mindspore.names()) - set(DRAWN_BY_MINDSPORE)
    assert len(names) > 10
    inits = [*map(repr, sorted(names)), "'ONES'", "2", "2.5", "True", "-1", "1e39", "10**40"]
    inits += ["float('nan')", "np.float32(0.1)", "np.float64(0.1)", "np.int32(2)"]
    inits += ["__import__('fractions').Fraction(1, 2)", "np.arange(3)", "np.ones(3, np.int32)"]
    inits += ["np.ones(3, np.float16)", "np.ones(3)", "np.array([True, False, True])"]
    expressions = [f"first({init})" for init in inits]
    expressions += [f"first({x}, {d!r})" for x in ("'ones'", "2.5") for d in ("float16", "int32")]
    expressions += ["first(np.ones(3, np.float32), 'float16')"]
    assert not mindspore.differing(expressions)


def test_mindspore_bad_values_raise_its_exception_class(started):
    inits = ["'xx'", "''", "'constant'", "None", "[1.0, 2, 3]", "(1, 2, 3)", "1j", "np.bool_(True)"]
    inits += ["b'ones'", "object()", "two", "np.float32", "{}"]
    shapes = ["np.ones(4)", "np.ones((3, 1))", "np.ones((1, 3))", "np.ones(1)", "np.array(2.0)"]
    assert not started("mindspore").differing([f"first({x})" for x in inits + shapes])


def test_mindspore_texts_begin_as_its_own(started):
    expressions = ["first('xx')", "first(None)", "first(np.ones(4))"]
    for _, real, ours in started("mindspore").both(expressions):
        assert ours["text"].startswith(real["text"].rstrip("."))


def test_mindspore_takes_no_numpy_array_and_we_do(started):
    ((_, real, ours),) = started("mindspore").both(["raw(np.ones(3))"])
    assert real["error"] == "TypeError"
    assert ours["value"] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("name", DRAWN_BY_MINDSPORE)
def test_mindspore_random_values_have_its_distribution(started, name):
    ((_, real, ours),) = started("mindspore").both([f"draw({name!r})"])
    low, high, mean, std = real["value"]
    assert ours["value"][2] == pytest.approx(mean, abs=0.02 * std)
    assert ours["value"][3] == pytest.approx(std, rel=0.02)
    assert ours["value"][:2] == pytest.approx([low, high], rel=1e-3 if name == "uniform" else 0.3)


def test_a_mindspore_array_is_copied():
    values = np.arange(3.0)
    made = initial.get(values, (3,))((3,), np.dtype(np.float32))
    made[0] = 7
    assert values[0] == 0
