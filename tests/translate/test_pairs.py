"""What one dialect's call is in the others' words: `read` names the source, `write` the targets.

A target that is absent isn't part of the case. Only the call is compared here; differences are
in test_differences.
"""

import pytest

from batchnorm.frameworks import find
from batchnorm.translate.call import parse_call
from batchnorm.translate.plan import make_plan

TF, K = "tf.keras.layers.BatchNormalization", "keras.layers.BatchNormalization"


def case(read, write):
    """The same layer: dialect -> call given, dialect -> call expected."""
    return {"read": read, "write": write}


CASES = [
    # The core parameters.
    case(
        read={"torch": "nn.BatchNorm2d(64)"},
        write={
            "mindspore": "nn.BatchNorm2d(64)",
            "tf_keras": f"{TF}(axis=1, momentum=0.9, epsilon=1e-05)",
            "keras": f"{K}(axis=1, momentum=0.9, epsilon=1e-05)",
            "mindspore@2.0": "nn.BatchNorm2d(64)",
            "tf_keras@2.6": f"{TF}(axis=1, momentum=0.9, epsilon=1e-05)",
        },
    ),
    case(
        read={"torch": "nn.BatchNorm2d(64, eps=0.001, momentum=0.01)"},
        write={
            "mindspore": "nn.BatchNorm2d(64, eps=0.001, momentum=0.99)",
            "tf_keras": f"{TF}(axis=1, momentum=0.99, epsilon=0.001)",
            "keras": f"{K}(axis=1, momentum=0.99, epsilon=0.001)",
        },
    ),
    case(
        read={"torch": "nn.BatchNorm2d(c, 1e-5, 1 - 0.9997)"},
        write={
            "mindspore": "nn.BatchNorm2d(c, eps=1e-5, momentum=0.9997)",
            "keras": f"{K}(axis=1, momentum=0.9997, epsilon=1e-5)",
        },
    ),
    case(
        read={"torch": "nn.BatchNorm2d(c, momentum=m if m else 0.1)"},
        write={
            "mindspore": "nn.BatchNorm2d(c, momentum=1 - (m if m else 0.1))",
            "keras": f"{K}(axis=1, momentum=1 - (m if m else 0.1), epsilon=1e-05)",
        },
    ),
    case(
        read={"torch": "nn.BatchNorm2d(c, momentum=None)"},
        write={"mindspore": "nn.BatchNorm2d(c)", "keras": f"{K}(axis=1, epsilon=1e-05)"},
    ),
    case(
        read={"torch": "nn.BatchNorm2d(c, eps=1)"},
        write={"keras": f"{K}(axis=1, momentum=0.9, epsilon=1.0)"},
    ),
    case(
        read={"mindspore": "nn.BatchNorm2d(64, momentum=0.99)"},
        write={
            "torch": "nn.BatchNorm2d(64, momentum=0.01)",
            "tf_keras": f"{TF}(axis=1, momentum=0.99, epsilon=1e-05)",
            "keras": f"{K}(axis=1, momentum=0.99, epsilon=1e-05)",
            "mindspore@2.0": "nn.BatchNorm2d(64, momentum=0.99)",
        },
    ),
    case(
        read={"mindspore": "nn.BatchNorm2d(64, momentum=1 - cfg.m)"},
        write={
            "torch": "nn.BatchNorm2d(64, momentum=cfg.m)",
            "keras": f"{K}(axis=1, momentum=1 - cfg.m, epsilon=1e-05)",
        },
    ),
    case(
        read={"keras": "BatchNormalization()", "tf_keras": "BatchNormalization()"},
        write={
            "torch": "nn.BatchNorm2d(NUM_FEATURES, eps=0.001, momentum=0.01)",
            "mindspore": "nn.BatchNorm2d(NUM_FEATURES, eps=0.001, momentum=0.99)",
        },
    ),
    case(read={"keras": "BatchNormalization()"}, write={"tf_keras": f"{TF}()"}),
    case(read={"tf_keras": "BatchNormalization()"}, write={"keras": f"{K}()"}),
    # Written defaults stay written.
    case(
        read={"torch": "nn.BatchNorm2d(3, eps=1e-5, affine=True)"},
        write={"mindspore": "nn.BatchNorm2d(3, eps=1e-5, affine=True)"},
    ),
    # gamma and beta.
    case(
        read={"torch": "nn.BatchNorm2d(3, affine=False)"},
        write={
            "mindspore": "nn.BatchNorm2d(3, affine=False)",
            "keras": f"{K}(axis=1, momentum=0.9, epsilon=1e-05, center=False, scale=False)",
        },
    ),
    case(
        read={"torch": "nn.BatchNorm2d(3, bias=False)"},
        write={
            "mindspore": "nn.BatchNorm2d(3)",
            "keras": f"{K}(axis=1, momentum=0.9, epsilon=1e-05, center=False)",
        },
    ),
    case(
        read={"torch": "nn.BatchNorm2d(3, affine=a)"},
        write={
            "mindspore": "nn.BatchNorm2d(3, affine=a)",
            "keras": f"{K}(axis=1, momentum=0.9, epsilon=1e-05, center=a, scale=a)",
        },
    ),
    case(
        read={"torch": "nn.BatchNorm2d(3, affine=a, bias=b or c)"},
        write={
            "keras": f"{K}(axis=1, momentum=0.9, epsilon=1e-05, center=a and (b or c), scale=a)"
        },
    ),
    case(
        read={"mindspore": "nn.BatchNorm2d(3, affine=False)"},
        write={
            "torch": "nn.BatchNorm2d(3, affine=False)",
            "keras": f"{K}(axis=1, momentum=0.9, epsilon=1e-05, center=False, scale=False)",
        },
    ),
    case(
        read={"mindspore": "nn.BatchNorm2d(3, affine=False, gamma_init=2)"},
        write={
            "torch": "nn.BatchNorm2d(3)",
            "tf_keras": f"{TF}(axis=1, momentum=0.9, epsilon=1e-05, "
            "gamma_initializer=tf.keras.initializers.Constant(2.0))",
            "keras": f"{K}(axis=1, momentum=0.9, epsilon=1e-05, "
            "gamma_initializer=keras.initializers.Constant(2.0))",
        },
    ),
    case(
        read={"keras": "BatchNormalization(1, scale=False, center=False)"},
        write={
            "torch": "nn.BatchNorm2d(NUM_FEATURES, eps=0.001, momentum=0.01, affine=False)",
            "mindspore": "nn.BatchNorm2d(NUM_FEATURES, eps=0.001, momentum=0.99, affine=False)",
        },
    ),
    case(
        read={"keras": "BatchNormalization(1, center=False)"},
        write={
            "torch": "nn.BatchNorm2d(NUM_FEATURES, eps=0.001, momentum=0.01, bias=False)",
            "mindspore": "nn.BatchNorm2d(NUM_FEATURES, eps=0.001, momentum=0.99)",
        },
    ),
    case(
        read={"keras": "BatchNormalization(1, scale=False)"},
        write={"torch": "nn.BatchNorm2d(NUM_FEATURES, eps=0.001, momentum=0.01)"},
    ),
    # Which statistics.
    case(
        read={"torch": "nn.BatchNorm2d(3, track_running_stats=False)"},
        write={
            "mindspore": "nn.BatchNorm2d(3, use_batch_statistics=True)",
            "keras": f"{K}(axis=1, momentum=0.9, epsilon=1e-05)",
        },
    ),
    case(
        read={"torch": "nn.BatchNorm2d(3, track_running_stats=t)"},
        write={"mindspore": "nn.BatchNorm2d(3, use_batch_statistics=None if t else True)"},
    ),
    case(
        read={"mindspore": "nn.BatchNorm2d(3, use_batch_statistics=True)"},
        write={"torch": "nn.BatchNorm2d(3, track_running_stats=False)"},
    ),
    case(
        read={"mindspore": "nn.BatchNorm2d(3, use_batch_statistics=u)"},
        write={
            "torch": "nn.BatchNorm2d(3, track_running_stats=not u)",
            "keras": f"{K}(axis=1, momentum=0.9, epsilon=1e-05, trainable=u is not False)",
        },
    ),
    case(
        read={"mindspore": "nn.BatchNorm2d(3, use_batch_statistics=False, affine=False)"},
        write={
            "torch": "nn.BatchNorm2d(3)",
            "keras": f"{K}(axis=1, momentum=0.9, epsilon=1e-05, trainable=False)",
        },
    ),
    case(
        read={"keras": "BatchNormalization(1, trainable=False)"},
        write={
            "mindspore": "nn.BatchNorm2d(NUM_FEATURES, eps=0.001, momentum=0.99, affine=False, "
            "use_batch_statistics=False)",
            "tf_keras": f"{TF}(axis=1, trainable=False)",
        },
    ),
    case(
        read={"tf_keras": "BatchNormalization(1, trainable=t)"},
        write={
            "mindspore": "nn.BatchNorm2d(NUM_FEATURES, eps=0.001, momentum=0.99, affine=t, "
            "use_batch_statistics=None if t else False)",
            "keras": f"{K}(axis=1, trainable=t)",
        },
    ),
    # The channel axis.
    case(
        read={"mindspore": 'nn.BatchNorm2d(3, data_format="NHWC")'},
        write={
            "torch": "nn.BatchNorm2d(3)",
            "keras": f"{K}(axis=-1, momentum=0.9, epsilon=1e-05)",
            "mindspore@2.0": 'nn.BatchNorm2d(3, data_format="NHWC")',
        },
    ),
    case(
        read={"mindspore": "nn.BatchNorm2d(3, data_format=f)"},
        write={
            "keras": f'{K}(axis=-1 if f == "NHWC" else 1, momentum=0.9, epsilon=1e-05)',
        },
    ),
    case(read={"tf_keras": "BatchNormalization([3])"}, write={"keras": f"{K}(axis=3)"}),
    case(read={"tf_keras": "BatchNormalization([1, 3])"}, write={"keras": f"{K}()"}),
    case(
        read={"tf_keras": "BatchNormalization(bn_axis)"},
        write={
            "keras": f"{K}(axis=bn_axis)",
            "torch": "nn.BatchNorm2d(NUM_FEATURES, eps=0.001, momentum=0.01)",
        },
    ),
    # Ranks, lazy and synchronized classes.
    case(
        read={"torch": "nn.BatchNorm1d(3)"},
        write={
            "mindspore": "nn.BatchNorm1d(3)",
            "keras": f"{K}(axis=1, momentum=0.9, epsilon=1e-05)",
        },
    ),
    case(
        read={"torch": "nn.BatchNorm3d(3)", "mindspore": "nn.BatchNorm3d(3)"},
        write={"keras": f"{K}(axis=1, momentum=0.9, epsilon=1e-05)"},
    ),
    case(
        read={"torch": "nn.LazyBatchNorm2d(1e-3)"},
        write={
            "mindspore": "nn.BatchNorm2d(NUM_FEATURES, eps=1e-3)",
            "keras": f"{K}(axis=1, momentum=0.9, epsilon=1e-3)",
        },
    ),
    case(
        read={"torch": "nn.SyncBatchNorm(3)"},
        write={
            "mindspore": "nn.SyncBatchNorm(3)",
            "keras": f"{K}(axis=1, momentum=0.9, epsilon=1e-05, synchronized=True)",
            "tf_keras@2.6": f"{TF}(axis=1, momentum=0.9, epsilon=1e-05)",
        },
    ),
    case(
        read={"keras": "BatchNormalization(1, synchronized=True)"},
        write={"torch": "nn.SyncBatchNorm(NUM_FEATURES, eps=0.001, momentum=0.01)"},
    ),
    # Objects.
    case(
        read={"mindspore": "nn.BatchNorm2d(3, gamma_init='zeros', beta_init=0.5)"},
        write={
            "torch": "nn.BatchNorm2d(3)",
            "keras": f"{K}(axis=1, momentum=0.9, epsilon=1e-05, "
            'beta_initializer=keras.initializers.Constant(0.5), gamma_initializer="zeros")',
        },
    ),
    case(
        read={"mindspore": "nn.BatchNorm2d(3, gamma_init=Normal(0.02, 1.0))"},
        write={
            "keras": f"{K}(axis=1, momentum=0.9, epsilon=1e-05, "
            "gamma_initializer=keras.initializers.RandomNormal(1.0, stddev=0.02))",
        },
    ),
    case(
        read={"keras": "BatchNormalization(1, gamma_initializer=RandomNormal(1.0, 0.02))"},
        write={
            "mindspore": "nn.BatchNorm2d(NUM_FEATURES, eps=0.001, momentum=0.99, "
            "gamma_init=mindspore.common.initializer.Normal(0.02, 1.0))",
        },
    ),
    case(
        read={"keras": "BatchNormalization(1, beta_initializer=keras.initializers.Constant(.5))"},
        write={
            "mindspore": "nn.BatchNorm2d(NUM_FEATURES, eps=0.001, momentum=0.99, beta_init=0.5)",
            "tf_keras": f"{TF}(axis=1, beta_initializer=tf.keras.initializers.Constant(0.5))",
        },
    ),
    case(
        read={"tf_keras": "BatchNormalization(gamma_regularizer=tf.keras.regularizers.l2(1e-4))"},
        write={"keras": f"{K}(gamma_regularizer=keras.regularizers.L2(0.0001))"},
    ),
    case(
        read={"tf_keras": "BatchNormalization(gamma_regularizer='l1_l2', beta_regularizer='l2')"},
        write={
            "keras": f"{K}(beta_regularizer='l2', "
            "gamma_regularizer=keras.regularizers.L1L2(0.01, l2=0.01))"
        },
    ),
    case(
        read={"tf_keras": "BatchNormalization(gamma_constraint=NonNeg(), beta_constraint=f)"},
        write={"keras": f"{K}(beta_constraint=f, gamma_constraint=keras.constraints.NonNeg())"},
    ),
    # dtypes.
    case(
        read={"torch": "nn.BatchNorm2d(3, dtype=torch.float64)"},
        write={
            "keras": f'{K}(axis=1, momentum=0.9, epsilon=1e-05, dtype="float64")',
            "mindspore": "nn.BatchNorm2d(3)",
        },
    ),
    case(
        read={"torch": "nn.BatchNorm2d(3, dtype=torch.half)"},
        write={
            "mindspore": "nn.BatchNorm2d(3, dtype=mindspore.float16)",
            "keras": f'{K}(axis=1, momentum=0.9, epsilon=1e-05, dtype="float16")',
        },
    ),
    case(
        read={"tf_keras": 'BatchNormalization(dtype="float16")'},
        write={"keras": f'{K}(dtype="mixed_float16")'},
    ),
    case(
        read={"keras": 'BatchNormalization(dtype=keras.DTypePolicy("mixed_bfloat16"))'},
        write={"tf_keras": f'{TF}(dtype="mixed_bfloat16")'},
    ),
    # What only Keras has.
    case(
        read={"tf_keras": "BatchNormalization(renorm=True, renorm_momentum=.9, name='bn')"},
        write={
            "keras": f"{K}(renorm=True, renorm_momentum=0.9, name='bn')",
            "torch": "nn.BatchNorm2d(NUM_FEATURES, eps=0.001, momentum=0.01)",
        },
    ),
    case(
        read={"tf_keras": "BatchNormalization(virtual_batch_size=4, fused=False, adjustment=f)"},
        write={"keras": f"{K}()"},
    ),
    case(
        read={"tf_keras": "BatchNormalization(input_shape=(32, 32, 3))"},
        write={
            "keras": f"{K}(input_shape=(32, 32, 3))",
            "torch": "nn.BatchNorm2d(3, eps=0.001, momentum=0.01)",
        },
    ),
    case(
        read={"torch": "nn.BatchNorm2d(3, device='cuda')"},
        write={"mindspore": "nn.BatchNorm2d(3)"},
    ),
]


@pytest.mark.parametrize(
    ("source", "call", "target", "expected"),
    [
        (source, call, target, expected)
        for case in CASES
        for source, call in case["read"].items()
        for target, expected in case["write"].items()
    ],
)
def test_a_call_in_the_other_words(source, call, target, expected):
    found = parse_call(call, find(source))
    assert make_plan(found.form, found.arguments, find(target)).target.text == expected


def test_every_ordered_pair_is_among_the_cases():
    pairs = {
        (source, target) for case in CASES for source in case["read"] for target in case["write"]
    }
    names = ("torch", "mindspore", "tf_keras", "keras")
    assert {(a, b) for a in names for b in names if a != b} <= pairs


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"num_features": 64}, "nn.BatchNorm2d(64, eps=0.001, momentum=0.99)"),
        ({"rank": 2}, "nn.BatchNorm1d(NUM_FEATURES, eps=0.001, momentum=0.99)"),
        ({"rank": 3}, "nn.BatchNorm1d(NUM_FEATURES, eps=0.001, momentum=0.99)"),
        ({"rank": 5}, "nn.BatchNorm3d(NUM_FEATURES, eps=0.001, momentum=0.99)"),
        (
            {"data_format": "NHWC"},
            'nn.BatchNorm2d(NUM_FEATURES, eps=0.001, momentum=0.99, data_format="NHWC")',
        ),
    ],
)
def test_what_a_keras_call_does_not_say_can_be_given(options, expected):
    found = parse_call("BatchNormalization()", find("keras"))
    made = make_plan(found.form, found.arguments, find("mindspore"), **options)
    assert made.target.text == expected


def test_without_a_channel_count_torch_has_a_lazy_form_too():
    found = parse_call("BatchNormalization()", find("keras"))
    made = make_plan(found.form, found.arguments, find("torch"))
    assert made.lazy == "nn.LazyBatchNorm2d(eps=0.001, momentum=0.01)"
    assert make_plan(found.form, found.arguments, find("torch"), num_features=3).lazy is None
    assert make_plan(found.form, found.arguments, find("mindspore")).lazy is None
