"""Dtype policies give the dtypes, names, configurations and errors of Keras 2 and Keras 3."""

import numpy as np
import pytest

from batchnorm.errors import InvalidType, InvalidValue
from batchnorm.frameworks.keras import policies
from batchnorm.vocabulary import as_dtype

NAMES = ["float32", "float16", "bfloat16", "float64", "half", "double", "float", "int", "int32"]
NAMES += ["int64", "uint8", "bool", "complex64", "complex128", "mixed_float16", "mixed_bfloat16"]
DTYPES = ["np.float16", "np.dtype('float64')", "np.dtype('>f4')", "np.dtype('int8')", "np.bool_"]
DTYPES += ["ml_dtypes.bfloat16", "np.dtype(ml_dtypes.bfloat16)", "float", "bool", "int", "complex"]
DTYPES += ["str", "np.str_"]
OBJECTS = ["None", "P('float32')", "P('float16')", "P('mixed_float16')", "P('mixed_bfloat16')"]
DICTIONARIES = [
    *(
        f"{{'class_name': {c!r}, 'config': {{'name': {n!r}}}}}"
        for c in ("Policy", "DTypePolicy", "FloatDTypePolicy")
        for n in ("mixed_float16", "mixed_bfloat16", "float16", "xx")
    ),
    "{'class_name': 'PolicyV1', 'config': {'name': 'mixed_float16', 'loss_scale': None}}",
    "{'module': 'keras', 'class_name': 'DTypePolicy', 'config': {'name': 'float16'}, "
    "'registered_name': None, 'shared_object_id': 3}",
    "{'module': 'keras.mixed_precision', 'class_name': 'Policy', 'config': "
    "{'name': 'mixed_bfloat16'}, 'registered_name': None}",
    "{'class_name': 'DTypePolicy', 'config': {}}",
    "{'class_name': 'DTypePolicy', 'config': None}",
    "{'class_name': 'DTypePolicy'}",
    "{'class_name': 'DTypePolicy', 'config': {'name': None}}",
    "{'class_name': 'DTypePolicy', 'config': {'name': 'int8'}}",
]
BAD = [
    *("'xx'", "'Float32'", "'MIXED_FLOAT16'", "'mixed_float32'", "'f4'", "'<f4'", "'float128'"),
    *("'_infer'", "'infer_float32_vars'", "b'float32'", "[1]", "object()", "{}"),
    "{'name': 'float32'}",
    "{'class_name': 'nope', 'config': {}}",
    "{'class_name': 'Policy'}",
    "{'class_name': 'Policy', 'config': {'foo': 'xx'}}",
    "{'class_name': 'DTypePolicy', 'config': {'foo': 1}}",
    "{'class_name': 'DTypePolicy', 'config': {'name': 3}}",
    "{'module': None, 'class_name': 'Policy', 'config': {'name': 'float16'}}",
]
DEVIATIONS = {
    "tf_keras": {
        "policy('string')[0]": "TypeError",
        "policy('float8_e4m3fn')[0]": "TypeError",
        "policy(1)[0]": "TypeError",
        "policy(1.0)[0]": "TypeError",
        "policy(object)[0]": "TypeError",
    },
    "keras": {
        "policy('string')[0]": "ValueError",
        "policy('int8_from_float32')[0]": "ValueError",
        "policy('float8_from_mixed_bfloat16')[0]": "ValueError",
    },
}


def test_names_mean_the_same_dtypes(keras):
    assert not keras.differing([f"policy({name!r})" for name in NAMES])


def test_dtypes_mean_the_same_dtypes(keras):
    strings = {"str"} if keras.dialect == "keras" else {"np.str_"}  # listed: no array has it here
    assert not keras.differing([f"policy({dtype})" for dtype in DTYPES if dtype not in strings])


def test_policies_and_none_mean_the_same_dtypes(keras):
    assert not keras.differing([f"policy({x})" for x in OBJECTS])


def test_dictionaries_are_read_as_the_framework_reads_them(keras):
    assert not keras.differing([f"policy({x})" for x in DICTIONARIES])


def test_bad_values_raise_the_frameworks_exception_class(keras):
    assert not keras.differing([f"policy({x})" for x in BAD])


def test_what_counts_as_none_in_keras_2_is_bad_in_keras_3(keras):
    values = (
        ("''", "0", "0.0", "False", "[]", "True", "3")
        if keras.dialect == "keras"
        else ("''", "0", "0.0", "False", "[]")
    )
    assert not keras.differing([f"policy({x})" for x in values])


def test_keras_3_alone_reads_a_torch_name(keras):
    assert not keras.differing(["policy('torch.float16')"])


def test_deviations_are_as_listed(keras):
    listed = DEVIATIONS[keras.dialect]
    for expression, real, ours in keras.both(listed):
        found = ours.get("error", ours.get("value"))
        assert found == listed[expression], expression
        assert real.get("error", real.get("value")) != found, f"no deviation any more: {expression}"


@pytest.mark.parametrize("dialect", ["tf_keras", "keras"])
@pytest.mark.parametrize("name", ["float16", "float64", "bfloat16", "mixed_float16", "uint8"])
def test_a_written_policy_reads_back(dialect, name):
    policy = policies.get(name, dialect)
    assert policies.get(policies.serialize(policy, dialect), dialect) == policy
    assert policies.get(policy, dialect) is policy
    assert as_dtype(policy.compute_dtype).name == policy.compute_dtype


@pytest.mark.parametrize("name", ["float32", "mixed_float16"])
def test_a_foreign_policy_or_dtype_is_read_by_its_name(name):
    class Foreign:
        pass

    foreign = Foreign()
    foreign.name = name
    for dialect in ("tf_keras", "keras"):
        assert policies.get(foreign, dialect) == policies.get(name, dialect)


def test_abstract_numpy_types_are_no_dtypes():
    with pytest.raises(InvalidType):
        policies.get(np.floating, "tf_keras")
    with pytest.raises(InvalidValue, match="mixed_float16"):
        policies.get(np.floating, "keras")
