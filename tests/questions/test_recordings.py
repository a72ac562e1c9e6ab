"""Answers derived from recorded arrays: the same as asked ones, and as those of our variants."""

from pathlib import Path

import pytest
from golden_answers import answers_from

from batchnorm.questions import ask, question, recorded, same
from batchnorm.questions.subject import Ours
from batchnorm.verify import deviations

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
# float32 outputs tell epsilon to about 1e-7 only, near variance 1
RESOLUTION = {"smallest-epsilon": 2e-7}
FILES = {
    "mindspore_2.0_cpu.npz": ("mindspore", "2.0"),
    "mindspore_2.10_cpu.npz": ("mindspore", "2.10"),
    "tf_keras_2.6.npz": ("tf_keras", "2.6"),
    "tf_keras_2.21.npz": ("tf_keras", "2.21"),
}


@pytest.mark.parametrize("file", FILES)
def test_recorded_arrays_say_what_asking_the_framework_says(file):
    answers = recorded(*FILES[file])
    for id, derived in answers_from(GOLDEN / file).items():
        if id in RESOLUTION:
            assert derived == pytest.approx(answers[id], abs=RESOLUTION[id])
        else:
            assert same(question(id), derived, answers[id]), (id, derived, answers[id])


@pytest.mark.parametrize("ours", ["mindspore@2.0", "tf_keras@2.6"])
def test_our_variant_answers_as_the_older_version_unless_a_deviation_says_why_not(ours):
    framework, _, version = ours.partition("@")
    for id, answer in recorded(framework, version).items():
        found = ask(question(id), Ours(ours))
        listed = deviations.find(deviations.read(), ours, "question", [id])
        assert listed or same(question(id), found, answer), (id, found, answer)


def test_the_versions_differ_where_they_are_known_to():
    assert recorded("mindspore", "2.0")["running-variance-denominator"] == "biased"
    assert recorded("mindspore", "2.10")["running-variance-denominator"] == "unbiased"
    assert recorded("tf_keras", "2.6")["smallest-epsilon"] == 1e-5
    assert recorded("tf_keras", "2.21")["smallest-epsilon"] == 1e-7
