"""Comparison: equal layers agree, and every wrong one that is put in their place is found."""

from dataclasses import replace

import numpy as np
import pytest

import batchnorm as bn
from batchnorm.questions.subject import Ours, Raised
from batchnorm.verify.compare import builtin, compare
from batchnorm.verify.draw import Case, Data, Seeded, Step
from batchnorm.verify.play import Observation, play
from batchnorm.verify.tolerance import arithmetic, bounds, roundoff
from batchnorm.verify.verification import FRAMEWORKS, draw

CASE = Case("torch", "BatchNorm2d", {"num_features": 2}, "float32", (1,), (Step((3, 2, 2, 2)),))
KERAS = (bn.tf_keras.BatchNormalization, bn.keras.BatchNormalization)


def first_difference(dialect, monkeypatch, layer, name, value, count=60):
    """The first drawn case in which a layer with a wrong method is seen to be wrong."""
    cases = [draw(Seeded(1, dialect, number), dialect) for number in range(count)]
    right = [play(Ours(dialect), case) for case in cases]
    monkeypatch.setattr(layer, name, value)
    wrong = [play(Ours(dialect), case) for case in cases]
    for case, a, b in zip(cases, right, wrong, strict=True):
        outcome = compare(case, a, b)
        if outcome.disagreement:
            return outcome.disagreement
    return None


@pytest.mark.parametrize("dialect", FRAMEWORKS)
def test_a_layer_agrees_with_itself(dialect):
    for number in range(60):
        case = draw(Seeded(2, dialect, number), dialect)
        outcome = compare(case, play(Ours(dialect), case), play(Ours(dialect), case))
        assert outcome.disagreement is None
        assert outcome.worst.of_tolerance == 0


@pytest.mark.parametrize(
    ("dialect", "layer"),
    [("torch", bn.torch.BatchNorm2d), ("mindspore", bn.mindspore.BatchNorm2d)],
)
def test_a_biased_running_variance_is_found(dialect, layer, monkeypatch):
    method = staticmethod(lambda *_: 0)
    found = first_difference(dialect, monkeypatch, layer, "correction", method)
    assert "var" in found.where


@pytest.mark.parametrize(("dialect", "layer"), list(zip(("tf_keras", "keras"), KERAS, strict=True)))
def test_an_unbiased_running_variance_is_found(dialect, layer, monkeypatch):
    method = staticmethod(lambda *_: 1)
    found = first_difference(dialect, monkeypatch, layer, "correction", method)
    assert "moving_variance" in found.where


@pytest.mark.parametrize("dialect", FRAMEWORKS)
def test_an_epsilon_that_is_one_percent_off_is_found(dialect, monkeypatch):
    core = bn.core
    real = core.Settings

    def settings(channel_axes, mode=None, epsilon=None, *args, **kwargs):
        mode, epsilon = kwargs.pop("mode", mode), kwargs.pop("epsilon", epsilon)
        return real(channel_axes, mode, epsilon * 1.01, *args, **kwargs)

    found = first_difference(dialect, monkeypatch, core, "Settings", settings)
    assert found is not None


@pytest.mark.parametrize("dialect", FRAMEWORKS)
def test_a_gradient_that_is_one_permille_off_is_found(dialect, monkeypatch):
    core = bn.core
    real = core.backward

    def backward(*args, **kwargs):
        dx, dgamma, dbeta = real(*args, **kwargs)
        return dx, dgamma * 1.001, dbeta

    found = first_difference(dialect, monkeypatch, core, "backward", backward)
    assert "gradient of" in found.where


def observed(value, place="step 1: y"):
    return [Observation(place, value)]


Y = np.linspace(-1, 1, 24, dtype=np.float32).reshape(3, 2, 2, 2)


@pytest.mark.parametrize(
    "other",
    [
        Y.astype(np.float64),
        Y.reshape(3, 2, 4),
        np.where(Y.max() == Y, np.nan, Y),
        np.where(Y.max() == Y, np.float32(np.inf), Y),
        Y + np.float32(1e-3),
        Raised("ValueError", ["ValueError", "Exception"], "no"),
        None,
    ],
)
def test_what_differs_is_found_from_either_side(other):
    assert compare(CASE, observed(Y), observed(other)).disagreement is not None
    assert compare(CASE, observed(other), observed(Y)).disagreement is not None


@pytest.mark.filterwarnings("error")
def test_what_is_far_apart_where_nothing_is_allowed_is_found_without_a_warning():
    at = "step 1: state running_var"
    theirs, ours = ([Observation(at, np.array([v]))] for v in (0.0, 1e300))
    assert compare(CASE, theirs, ours).disagreement is not None


def test_equal_nan_and_infinity_are_equal():
    y = np.array([np.nan, np.inf, -np.inf, 1], np.float32)
    assert compare(CASE, observed(y), observed(y.copy())).disagreement is None


def test_only_the_builtin_class_of_what_is_raised_counts():
    def raised(name, *bases):
        return observed(Raised(name, bases, "text"), "step 1: call")

    ours = raised("InvalidValue", "ValueError", "Exception")
    own = raised("InvalidArgumentError", "Exception")
    assert compare(CASE, raised("ValueError", "ValueError", "Exception"), ours).disagreement is None
    assert compare(CASE, own, ours).disagreement is None  # a class of its own: ValueError here
    assert compare(CASE, raised("TypeError", "TypeError", "Exception"), ours).disagreement
    assert builtin(own[0].value) == "ValueError"


def test_missing_observations_are_a_disagreement():
    two = [*observed(Y), Observation("step 1: dx", Y)]
    assert compare(CASE, two, observed(Y)).disagreement is not None
    assert compare(CASE, observed(Y), two).disagreement is not None


def test_attributes_differ_by_type_and_value():
    at = "attribute momentum"
    for a, b in ((0.1, 0.2), (1, True), ("x", "y"), ([1], 1), (None, 0)):
        assert compare(CASE, observed(a, at), observed(b, at)).disagreement is not None
    assert compare(CASE, observed(0.1, at), observed(np.float32(0.1), at)).disagreement is None


def test_a_bound_grows_with_the_mean_and_shrinks_with_precision():
    def bound(mean, dtype):
        given = draw_data(mean, dtype)
        case = Case("keras", "BatchNormalization", {"dtype": dtype}, dtype, (1,), CASE.steps)
        return bounds(case, given, 0, {})["y"]

    def draw_data(mean, dtype):
        x = (Y + mean).astype(dtype)
        return Data(x, np.ones(x.shape, np.float32), None)

    assert bound(0, "float32") < 1e-5
    assert 5 < bound(100, "float32") / bound(0, "float32") < 1000
    assert bound(0, "float64") < 1e-8 * bound(0, "float32")


def test_a_variance_of_next_to_nothing_may_be_the_square_of_the_means_rounding():
    case = Case("keras", "BatchNormalization", {"axis": 1}, "float32", (1,), (Step((1, 2)),))
    x = np.float32([[1.6330194, -2.0]])
    mask = np.ones(1, bool)
    mean = x / np.float32(1 + 1e-7)  # Keras divides masked sums by a little more than their count
    theirs = float(((x - mean) ** 2).max())
    exact = float(((x.astype(float) - x.astype(float) / (1 + 1e-7)) ** 2).max())
    allowed = bounds(case, Data(x, None, mask), 0, {})["var"]
    assert 0 < abs(theirs - exact) < allowed < 1e-10


def test_a_mask_of_nothing_is_among_the_statistics_of_ghost_batches():
    step = Step((4, 1, 1, 8), mask="none")
    arguments = {"axis": -2, "epsilon": 1e-5, "virtual_batch_size": 1}
    case = Case("tf_keras", "BatchNormalization", arguments, "float32", (2,), (step,))
    x = np.linspace(-2, 2, 32, dtype=np.float32).reshape(4, 1, 1, 8)
    y = x / np.sqrt(np.float32(1e-5))  # no mean is subtracted, and the variance is 0
    rounding = 2 * 2.0**-24 * float(np.abs(y).max())
    allowed = bounds(case, Data(x, None, np.zeros((4, 1, 1), bool)), 0, {})["y"]
    assert rounding < allowed < 1e3 * rounding
    assert bounds(case, Data(x, None, None), 0, {})["y"] < rounding / 4


def test_no_bound_takes_one_channels_variance_and_anothers_deviation():
    case = Case("keras", "BatchNormalization", {"axis": 1}, "float32", (1,), (Step((8, 2)),))
    x = np.linspace(-1, 1, 16, dtype=np.float32).reshape(8, 2)
    apart = [
        bounds(case, Data(x * np.float32(s), None, None), 0, {})["y"] for s in ((1, 1), (1, 0))
    ]
    assert apart[1] < 200 * apart[0]  # and not by the square of 1 / sqrt(epsilon), which is 1000


def test_sums_of_sixteen_bits_are_float32s_whose_error_grows_with_their_number():
    def found(dtype, count):
        x = np.linspace(-1, 1, 2 * count).reshape(count, 2).astype(dtype)
        dy = np.full_like(x, 1 / count)  # of sum 1
        case = Case("torch", "BatchNorm1d", {"num_features": 2}, dtype, (1,), (Step(x.shape),))
        allowed = bounds(case, Data(x, dy, None), 0, {"weight": np.ones(2, np.float32)})
        stored = roundoff(dtype) if dtype == "bfloat16" else 0.0  # of the result itself
        return allowed["var"], allowed["gradient of beta"] - stored

    (var, beta), (more_var, more_beta) = found("bfloat16", 64), found("bfloat16", 4096)
    assert more_var > 4 * var > 0
    assert more_beta > 4 * beta > 0
    (var, beta), (more_var, more_beta) = found("float32", 64), found("float32", 4096)
    assert 0 < more_var < 1.5 * var
    assert 0 < more_beta < 1.5 * beta


def test_roundings_of_integers_sums_may_all_go_one_way():
    tensorflow = pytest.importorskip("tensorflow")
    x = np.random.default_rng(4).integers(-60, 60, (4096, 1)).astype(np.int32)
    step = Step(x.shape)
    case = Case("keras", "BatchNormalization", {"axis": 1}, "int32", (1,), (step,))
    _, variance = tensorflow.nn.moments(tensorflow.cast(x, tensorflow.float32), [0])
    off = abs(float(variance[0]) - x.astype(np.float64).var())
    whole = bounds(case, Data(x, None, None), 0, {})["var"]
    other = bounds(replace(case, dtype="float32"), Data(x * np.float32(1), None, None), 0, {})[
        "var"
    ]
    assert off < whole
    assert whole > 5 * other


def test_torch_sums_in_float32_where_channels_are_last_in_memory():
    def found(layout):
        step = Step((8, 3, 32, 128), layout=layout)
        case = Case("torch", "BatchNorm2d", {"num_features": 3}, "float32", (1,), (step,))
        return bounds(case, given, 0, {})["var"]

    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).normal(3, 1, (8, 3, 32, 128)).astype(np.float32)
    given = Data(x, None, None)
    exact, off = x.astype(np.float64).var((0, 2, 3)), {}
    for layout in ("", "channels last"):
        layer = torch.nn.BatchNorm2d(3, eps=1e-30, momentum=1.0)
        kind = torch.channels_last if layout else torch.contiguous_format
        layer(torch.from_numpy(x).contiguous(memory_format=kind))
        n = x.size / 3
        off[layout] = np.abs(layer.running_var.numpy() * (n - 1) / n - exact).max()
        assert off[layout] < found(layout)
    assert off["channels last"] > found("")
    assert found("channels last") < 1e-4


def test_roundoff_is_half_a_unit_in_the_last_place():
    assert roundoff("float32") == np.finfo(np.float32).eps / 2
    assert roundoff("float16") == np.finfo(np.float16).eps / 2
    assert roundoff("bfloat16") == 2.0**-8
    assert roundoff("int32") == roundoff("nonsense") == 0
    assert arithmetic(CASE) == "float32"


def test_an_epsilon_that_is_set_later_does_not_hide_the_one_the_layer_was_made_with():
    steps = (Step((1, 2), changes=(("eps", 0.5),)),)  # MindSpore ignores it
    x = np.float32([[-8.05, -2.49]])
    case = Case("mindspore", "BatchNorm1d", {"num_features": 2}, "float32", (1,), steps)
    given = Data(x, np.ones(x.shape, np.float32), None)
    made = replace(case, arguments={"num_features": 2, "eps": 0.5}, steps=(Step((1, 2)),))
    assert bounds(case, given, 0, {})["dx"] > 100 * bounds(made, given, 0, {})["dx"]
