"""The glossary in code: closed, explained, and used."""

import typing

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import batchnorm as bn
from batchnorm import vocabulary
from batchnorm.vocabulary import GLOSSARY, Meaning, Mode, as_dtype, complement

LAYERS = [
    bn.torch.BatchNorm2d,
    bn.mindspore.BatchNorm2d,
    bn.tf_keras.BatchNormalization,
    bn.keras.BatchNormalization,
]


def test_a_meaning_is_a_word_of_the_glossary():
    assert str(Meaning("init", "gamma")) == "init of gamma"
    assert str(Meaning("epsilon")) == "epsilon"
    with pytest.raises(ValueError, match=r"'momentum' is no word of the glossary; known: \["):
        Meaning("momentum")


def test_every_word_is_explained_and_means_a_parameter_of_some_dialect():
    used = {p.meaning.word for layer in LAYERS for p in layer.PARAMETERS.values()}
    assert used == set(GLOSSARY)
    assert all(len(text) > 10 for text in GLOSSARY.values())


def test_every_annotation_of_the_vocabulary_carries_one_meaning():
    hints = [getattr(vocabulary, name) for name in vocabulary.__all__]
    annotated = [hint for hint in hints if typing.get_origin(hint) is typing.Annotated]
    assert len(annotated) > 20
    for hint in annotated:
        assert [type(mark) for mark in typing.get_args(hint)[1:]] == [Meaning]


def test_the_two_momenta_have_meanings_of_their_own():
    assert bn.torch.BatchNorm2d.PARAMETERS["momentum"].meaning.word == "weight_of_batch"
    for layer in LAYERS[1:]:
        assert layer.PARAMETERS["momentum"].meaning.word == "weight_of_running"


@given(st.floats(0, 1))
def test_the_complement_is_that_of_binary_arithmetic(weight):
    assert complement(weight) == 1 - weight


def test_dtypes_have_names_bfloat16_too():
    assert as_dtype("bfloat16") == ml_dtypes.bfloat16
    assert as_dtype("float32") == np.float32
    assert as_dtype(np.float16) == np.dtype("f2")
    with pytest.raises(TypeError):
        as_dtype("float33")


def test_there_are_three_modes():
    assert [mode.name for mode in Mode] == ["BATCH_AND_UPDATE", "BATCH", "RUNNING"]
