"""What can't be carried over is named, with its kind, its remedy and the question about it."""

import ast
from pathlib import Path

import pytest

from batchnorm.translate import difference
from batchnorm.translate.difference import REFERENCES
from batchnorm.translate.translation import translate

ALWAYS = {"mode"}


def differences(call, source, target, **options):
    found = translate(call, to=target, from_=source, **options)
    return {d.key: d for d in found.differences if d.key not in ALWAYS}


@pytest.mark.parametrize(
    ("source", "target", "call", "kinds"),
    [
        ("torch", "mindspore", "nn.BatchNorm2d(3)", {}),
        ("torch", "tf_keras", "nn.BatchNorm2d(3)", {}),
        ("torch", "keras", "nn.BatchNorm2d(3)", {"running-variance-denominator": "predicted"}),
        ("torch", "tf_keras", "nn.BatchNorm1d(3)", {"running-variance-denominator": "predicted"}),
        (
            "torch",
            "mindspore@2.0",
            "nn.BatchNorm2d(3)",
            {"running-variance-denominator": "predicted"},
        ),
        ("torch", "tf_keras@2.6", "nn.BatchNorm2d(3)", {"epsilon-clamp": "predicted"}),
        (
            "torch",
            "keras",
            "nn.BatchNorm2d(3, track_running_stats=False)",
            {"batch-statistics-in-inference": "inexpressible"},
        ),
        (
            "torch",
            "mindspore",
            "nn.BatchNorm2d(3, track_running_stats=False)",
            {"statistics-kept": "predicted"},
        ),
        (
            "mindspore",
            "torch",
            "nn.BatchNorm2d(3, use_batch_statistics=True)",
            {"statistics-kept": "predicted"},
        ),
        (
            "mindspore",
            "torch",
            "nn.BatchNorm2d(3, use_batch_statistics=False)",
            {"running-statistics-in-training": "inexpressible"},
        ),
        (
            "mindspore",
            "tf_keras",
            "nn.BatchNorm2d(3, use_batch_statistics=False)",
            {"frozen-parameters": "inexpressible"},
        ),
        (
            "mindspore",
            "tf_keras",
            "nn.BatchNorm2d(3, use_batch_statistics=False, affine=False)",
            {},
        ),
        (
            "torch",
            "mindspore",
            "nn.BatchNorm2d(3, momentum=None)",
            {"cumulative-average": "inexpressible"},
        ),
        ("torch", "mindspore", "nn.BatchNorm2d(3, affine=False)", {"frozen-affine": "around"}),
        (
            "torch",
            "mindspore",
            "nn.BatchNorm2d(3, bias=False)",
            {"extra-parameter": "inexpressible"},
        ),
        ("torch", "tf_keras", "nn.BatchNorm2d(3, bias=False)", {}),
        ("mindspore", "torch", "nn.BatchNorm2d(3, affine=False)", {"frozen-affine": "around"}),
        (
            "mindspore",
            "torch",
            "nn.BatchNorm2d(3, gamma_init=0)",
            {"initial-value": "inexpressible"},
        ),
        ("mindspore", "torch", "nn.BatchNorm2d(3, gamma_init=1)", {}),
        (
            "mindspore",
            "torch",
            "nn.BatchNorm2d(3, affine=False, gamma_init=2)",
            {"frozen-parameters": "inexpressible", "initial-value": "inexpressible"},
        ),
        ("tf_keras", "torch", "BatchNormalization(1)", {"num-features": "around"}),
        (
            "tf_keras",
            "torch",
            "BatchNormalization(input_shape=(8, 8, 3))",
            {"channel-axis": "around", "input-shape": "around"},
        ),
        (
            "tf_keras",
            "mindspore",
            "BatchNormalization(1, trainable=False)",
            {"num-features": "around"},
        ),
        ("tf_keras", "keras", "BatchNormalization([1, 2])", {"channel-axis": "inexpressible"}),
        (
            "tf_keras",
            "keras",
            "BatchNormalization(fused=True)",
            {"fused": "around", "running-variance-denominator": "predicted"},
        ),
        (
            "tf_keras",
            "keras",
            "BatchNormalization(virtual_batch_size=2)",
            {"virtual-batch-size": "inexpressible"},
        ),
        (
            "tf_keras",
            "keras",
            "BatchNormalization(adjustment=f)",
            {"adjustment": "inexpressible", "running-variance-denominator": "predicted"},
        ),
        (
            "tf_keras",
            "keras",
            "BatchNormalization(weights=w)",
            {"initial-weights": "inexpressible", "running-variance-denominator": "predicted"},
        ),
        ("tf_keras", "keras", "BatchNormalization(renorm=True)", {}),
        (
            "keras",
            "torch",
            "BatchNormalization(1, renorm=True, name='a')",
            {"layer-name": "around", "renorm": "inexpressible", "num-features": "around"},
        ),
        (
            "keras",
            "torch",
            "BatchNormalization(1, gamma_regularizer='l2', beta_constraint='non_neg')",
            {
                "regularizer": "inexpressible",
                "constraint": "inexpressible",
                "num-features": "around",
                "running-variance-denominator": "predicted",
            },
        ),
        (
            "keras",
            "tf_keras",
            "BatchNormalization(dtype='float16')",
            {"parameter-dtype": "inexpressible", "running-variance-denominator": "predicted"},
        ),
        (
            "torch",
            "mindspore",
            "nn.BatchNorm2d(3, dtype=torch.float64)",
            {"parameter-dtype": "inexpressible"},
        ),
        (
            "torch",
            "mindspore",
            "nn.BatchNorm2d(3, dtype=torch.float16)",
            {"float16-statistics": "predicted"},
        ),
        (
            "torch",
            "tf_keras",
            "nn.BatchNorm2d(3, dtype=torch.float64)",
            {"running-variance-denominator": "predicted", "float32-momentum": "predicted"},
        ),
        ("torch", "mindspore", "nn.BatchNorm2d(3, device=d)", {"device": "around"}),
        (
            "torch",
            "mindspore",
            "nn.BatchNorm2d(3, eps=2.0, momentum=1.5)",
            {"refused": "inexpressible"},
        ),
        (
            "torch",
            "tf_keras@2.6",
            "nn.SyncBatchNorm(3)",
            {"epsilon-clamp": "predicted", "synchronized": "inexpressible"},
        ),
        (
            "torch",
            "keras",
            "nn.BatchNorm2d(3, track_running_stats=t)",
            {"statistics-expression": "inexpressible", "running-variance-denominator": "predicted"},
        ),
        (
            "mindspore",
            "torch",
            "nn.BatchNorm2d(3, use_batch_statistics=u)",
            {"statistics-expression": "around", "flag": "inexpressible"},
        ),
        (
            "mindspore",
            "keras",
            "nn.BatchNorm2d(3, affine=f)",
            {"affine-expression": "around", "running-variance-denominator": "predicted"},
        ),
        (
            "keras",
            "mindspore",
            "BatchNormalization(bn_axis)",
            {
                "channel-axis": "around",
                "num-features": "around",
                "running-variance-denominator": "predicted",
            },
        ),
        (
            "keras",
            "mindspore",
            "BatchNormalization(1, gamma_initializer='glorot_uniform')",
            {
                "initial-value": "inexpressible",
                "num-features": "around",
                "running-variance-denominator": "predicted",
            },
        ),
        (
            "keras",
            "mindspore",
            "BatchNormalization(1, gamma_initializer=None)",
            {
                "initial-value": "inexpressible",
                "num-features": "around",
                "running-variance-denominator": "predicted",
            },
        ),
    ],
)
def test_exactly_these_differences_are_named(source, target, call, kinds):
    assert {k: d.kind for k, d in differences(call, source, target).items()} == kinds


def test_a_default_that_says_nothing_is_no_difference():
    assert "renorm" not in differences("BatchNormalization(1, renorm=False)", "keras", "torch")


def test_the_size_of_the_denominator_is_given_for_512_values():
    found = differences("nn.BatchNorm2d(3)", "torch", "keras")["running-variance-denominator"]
    assert found.size == pytest.approx(1 / 511)
    assert "2.0e-03 less at n = 8×8×8" in found.text
    found = differences("BatchNormalization(1)", "keras", "tf_keras")
    assert "2.0e-03 more" in found["running-variance-denominator"].text
    assert "fused=False" in found["running-variance-denominator"].remedy


@pytest.mark.parametrize(
    ("call", "source", "target", "key", "remedy"),
    [
        (
            "nn.BatchNorm2d(3, gamma_init=.5)",
            "mindspore",
            "torch",
            "initial-value",
            "nn.init.constant_(bn.weight, 0.5)",
        ),
        (
            "nn.BatchNorm2d(3, moving_mean_init='normal')",
            "mindspore",
            "torch",
            "initial-value",
            "nn.init.normal_(bn.running_mean, 0.0, 0.01)",
        ),
        (
            "BatchNormalization(1, scale=False)",
            "keras",
            "torch",
            "extra-parameter",
            "bn.weight.requires_grad_(False)",
        ),
        (
            "nn.BatchNorm2d(3, bias=False)",
            "torch",
            "mindspore",
            "extra-parameter",
            "bn.beta.requires_grad = False",
        ),
        ("BatchNormalization()", "keras", "mindspore", "channel-axis", 'data_format="NHWC"'),
        (
            "BatchNormalization(1, trainable=False)",
            "keras",
            "torch",
            "running-statistics-in-training",
            "bn.eval()",
        ),
    ],
)
def test_a_remedy_is_code_where_code_helps(call, source, target, key, remedy):
    assert remedy in differences(call, source, target)[key].remedy


def test_a_call_that_its_own_framework_refuses_is_refused():
    with pytest.raises(ValueError, match=r"mindspore itself refuses this call.*momentum"):
        translate("nn.BatchNorm2d(3, momentum=2.0)", from_="mindspore", to="torch")
    with pytest.raises(ValueError, match="keras itself refuses"):
        translate("BatchNormalization(gamma_initializer='xx')", from_="keras", to="torch")


def keys_in_source():
    found = set()
    for path in Path(difference.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
                first = node.args[0]
                if node.func.id in ("Difference", "_lost") and isinstance(first, ast.Constant):
                    found.add(first.value)
    return found


def test_every_reference_is_of_a_difference_and_every_question_exists():
    from batchnorm.questions import QUESTIONS

    assert set(REFERENCES) <= keys_in_source()
    assert set(REFERENCES.values()) <= {question.id for question in QUESTIONS}
