"""Answers derived from recorded arrays: the same as asked ones, and as those of our variants."""

from pathlib import Path

import pytest
from golden_answers import answers_from

from batchnorm.questions import ask, question, recorded, same
from batchnorm.questions.record import load
from batchnorm.questions.subject import Ours

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
# float32 outputs tell epsilon to about 1e-7 only, near variance 1
RESOLUTION = {"smallest-epsilon": 2e-7}
DERIVED = {
    "mindspore@2.0": ("mindspore_2.0_cpu.npz", "mindspore", "2.0.0"),
    "tf_keras@2.6": ("tf_keras_2.6.npz", "tf_keras", "2.6.0"),
}
ASKED = {"mindspore_2.10_cpu.npz": "mindspore", "tf_keras_2.21.npz": "tf_keras"}


@pytest.mark.parametrize(("file", "dialect"), ASKED.items())
def test_a_recording_of_an_installed_version_says_what_asking_it_says(file, dialect):
    answers = recorded(dialect)
    for id, derived in answers_from(GOLDEN / file).items():
        if id in RESOLUTION:
            assert derived == pytest.approx(answers[id], abs=RESOLUTION[id])
        else:
            assert same(question(id), derived, answers[id]), (id, derived, answers[id])


@pytest.mark.parametrize("ours", DERIVED)
def test_the_committed_answers_are_what_the_recording_says(ours):
    file, framework, version = DERIVED[ours]
    content = load(framework, version)
    assert content["from"] == "recording"
    assert content["answers"] == answers_from(GOLDEN / file)


@pytest.mark.parametrize("ours", DERIVED)
def test_our_variant_answers_as_the_recorded_version(ours):
    _, framework, version = DERIVED[ours]
    for id, answer in recorded(framework, version).items():
        found = ask(question(id), Ours(ours))
        assert same(question(id), found, answer), (id, found, answer)


def test_the_versions_differ_where_they_are_known_to():
    assert recorded("mindspore", "2.0")["running-variance-denominator"] == "biased"
    assert recorded("mindspore", "2.10")["running-variance-denominator"] == "unbiased"
    assert recorded("tf_keras", "2.6")["smallest-epsilon"] == 1e-5
    assert recorded("tf_keras", "2.21")["smallest-epsilon"] == 1e-7
