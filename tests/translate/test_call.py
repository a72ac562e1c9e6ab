"""A call is parsed, bound to its class's parameters, and never evaluated."""

import pytest

from batchnorm.frameworks import find
from batchnorm.translate.call import parse_call


def texts(call, of=None):
    found = parse_call(call, None if of is None else find(of))
    return {name: argument.text for name, argument in found.arguments.items()}


@pytest.mark.parametrize(
    ("call", "of", "expected"),
    [
        ("BatchNorm2d(64)", "torch", {"num_features": "64"}),
        (
            "nn.BatchNorm2d(64, 1e-3, .01)",
            "torch",
            {"num_features": "64", "eps": "1e-3", "momentum": ".01"},
        ),
        ("torch.nn.BatchNorm1d(num_features=c)", "torch", {"num_features": "c"}),
        ("a.b.nn.BatchNorm3d(2*c, bias=False)", "torch", {"num_features": "2*c", "bias": "False"}),
        ("nn.LazyBatchNorm2d(1e-3)", "torch", {"eps": "1e-3"}),
        (
            "nn.SyncBatchNorm(3, process_group=g)",
            "torch",
            {"num_features": "3", "process_group": "g"},
        ),
        ("nn.BatchNorm2d(64, **{'eps': 1e-3})", "torch", {"num_features": "64", "eps": "1e-3"}),
        ("BatchNormalization(1, .9)", "keras", {"axis": "1", "momentum": ".9"}),
        ("  layers.BatchNormalization( axis = 3 ),\n", "keras", {"axis": "3"}),
        ("nn.BatchNorm2d(\n    8,\n    momentum=(a +\n    b),\n)", "torch", None),
    ],
)
def test_arguments_are_bound_as_python_binds_them(call, of, expected):
    if expected is None:
        expected = {"num_features": "8", "momentum": "a + b"}
    assert texts(call, of) == expected


@pytest.mark.parametrize(
    ("call", "of"),
    [
        ("torch.nn.BatchNorm2d(3)", "torch"),
        ("mindspore.nn.BatchNorm2d(3)", "mindspore"),
        ("ms.nn.BatchNorm2d(3)", "mindspore"),
        ("tf.keras.layers.BatchNormalization()", "tf_keras"),
        ("nn.BatchNorm2d(3, track_running_stats=False)", "torch"),
        ("nn.BatchNorm2d(3, gamma_init=2)", "mindspore"),
        ("layers.BatchNormalization(fused=False)", "tf_keras"),
        ("nn.LazyBatchNorm2d()", "torch"),
    ],
)
def test_the_framework_is_told_by_prefix_class_or_parameters(call, of):
    found = parse_call(call)
    assert found.form.dialect.name == of
    assert found.inferred


@pytest.mark.parametrize(
    ("call", "of", "message"),
    [
        ("nn.BatchNorm2d(3)", None, "torch or mindspore: say which with --from"),
        ("keras.layers.BatchNormalization()", None, "tf_keras or keras"),
        ("nn.BatchNorm2d(3, momemtum=0.1)", "torch", "did you mean 'momentum'"),
        ("nn.BatchNorm2D(3)", "torch", "did you mean 'BatchNorm2d'"),
        ("nn.Batchnorm(3)", None, "unknown class"),
        ("BatchNormalization()", "torch", "torch has no class"),
        ("torch.nn.BatchNorm2d(3)", "mindspore", "prefix 'torch.nn' says torch"),
        ("nn.BatchNorm2d(3, gamma_init=1)", "torch", "no parameter 'gamma_init'"),
        ("nn.BatchNorm2d(3, dtype='float16')", "mindspore@2.0", "no parameter 'dtype'"),
        ("BatchNormalization(synchronized=True)", "tf_keras@2.6", "no parameter 'synchronized'"),
        ("nn.BatchNorm2d(3, num_features=4)", "torch", "'num_features' twice"),
        ("nn.BatchNorm2d(eps=1)", "torch", "needs num_features"),
        ("nn.BatchNorm2d(3, 1, 1, 1, 1, 1, 1, 1)", "torch", "takes 7 positional .* got 8"),
        ("BatchNormalization(-1, .9, 1e-3, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)", "tf_keras", "14"),
        ("nn.BatchNorm2d(*args)", "torch", r"\*args hides"),
        ("nn.BatchNorm2d(3, **kw)", "torch", r"\*\*kw hides"),
        ("nn.BatchNorm2d(3, **{k: 1})", "torch", "hides"),
        ("nn.BatchNorm2d(3, eps=1, **{'eps': 2})", "torch", "'eps' twice"),
        ("nn.BatchNorm2d(3", "torch", "does not parse"),
        ("nn.BatchNorm2d(3, eps=1, eps=2)", "torch", "'eps' twice"),
        ("nn.BatchNorm2d", "torch", "expected one call"),
        ("x = 3", "torch", "expected one call"),
        ("nn.BatchNorm2d(3); nn.BatchNorm2d(4)", "torch", "expected one call"),
        ("F.batch_norm(x, m, v, momentum=0.1)", "torch", "is a function, not a layer"),
        ("ops.batch_norm(x, m, v, w, b, True, 0.1, 1e-5)", "mindspore", "is a function"),
        ("f()(3)", "torch", "expected one call"),
        ("", "torch", "expected one call"),
        ("\0", "torch", "does not parse"),
    ],
)
def test_what_can_not_be_read_is_refused_with_what_was_expected(call, of, message):
    with pytest.raises(ValueError, match=message):
        parse_call(call, None if of is None else find(of))


def test_unknown_frameworks_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="did you mean 'mindspore'"):
        find("mindspor")


@pytest.mark.parametrize(
    ("name", "canonical"),
    [("keras@3", "keras"), ("keras@2", "tf_keras"), ("mindspore@2.10", "mindspore")],
)
def test_versions_have_short_names(name, canonical):
    assert find(name).name == canonical


@pytest.mark.parametrize(
    "text",
    [
        "self.bn = nn.BatchNorm2d(8, momentum=0.01)",
        "bn: nn.Module = nn.BatchNorm2d(8, momentum=0.01)",
        "return nn.BatchNorm2d(8, momentum=0.01)",
        "  nn.BatchNorm2d(8, momentum=0.01),",
    ],
)
def test_a_line_is_read_as_its_call(text):
    call = parse_call(text, find("torch"))
    assert call.arguments["momentum"].value == 0.01


@pytest.mark.parametrize(("momentum", "name"), [(0.01, "torch"), (0.9, "mindspore")])
def test_a_momentum_that_fits_one_framework_alone_tells_which_and_says_so(momentum, name):
    call = parse_call(f"nn.BatchNorm2d(8, momentum={momentum})")
    assert call.form.dialect.name == name
    assert "--from" in call.inferred
    with pytest.raises(ValueError, match="can be torch or mindspore"):
        parse_call("nn.BatchNorm2d(8, momentum=0.5)")
