"""What holds for every question, without any framework: our own layers answer."""

import json
import re
from typing import get_args

import pytest

from batchnorm.errors import InvalidValue
from batchnorm.questions import QUESTIONS, ask, ask_all, question, record_answers, recorded, same
from batchnorm.questions import record as record_file
from batchnorm.questions.question import Category
from batchnorm.questions.subject import Ours

DIALECTS = ("torch", "mindspore", "tf_keras", "keras")
FILES = sorted(record_file.ANSWERS.glob("*.json"))
ASKED = [
    pytest.param(item, dialect, id=f"{item.id}-{dialect}")
    for item in QUESTIONS
    if item.experiment
    for dialect in item.asked_of
]
CJK = re.compile(r"[\u4e00-\u9fff]")


@pytest.mark.parametrize(("item", "dialect"), ASKED)
def test_our_layer_answers_the_same_twice_in_json(item, dialect):
    answer = ask(item, Ours(dialect))
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer
    assert ask(item, Ours(dialect)) == answer
    assert same(item, answer, answer)


@pytest.mark.parametrize("item", QUESTIONS, ids=lambda item: item.id)
def test_a_question_is_whole_in_both_languages(item):
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", item.id)
    assert item.category in get_args(Category)
    assert item.text.en.endswith(("?", "."))
    assert item.consequence.en.endswith(".")
    for text in (item.text, item.consequence, item.absent, item.unrecorded):
        assert bool(text.en) == bool(text.zh)
        assert not CJK.search(text.en)
        assert not text.zh or CJK.search(text.zh)
    assert set(item.asked_of) <= set(DIALECTS)
    assert bool(item.absent.en) == (set(item.asked_of) != set(DIALECTS))
    assert bool(item.unrecorded.en) == (item.experiment is None)
    if item.experiment is None and not item.unrecorded.en.startswith("Open:"):
        assert item.source.startswith("https://")


def test_ids_are_unique_and_sorted_by_category():
    assert len({item.id for item in QUESTIONS}) == len(QUESTIONS)
    order = [get_args(Category).index(item.category) for item in QUESTIONS]
    assert order == sorted(order)


def test_every_measured_difference_has_a_question():
    assert {number for item in QUESTIONS for number in item.item} == set(range(1, 68))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_recorded_file_answers_known_questions(path):
    content = json.loads(path.read_text(encoding="utf-8"))
    framework, version = content["framework"], content["version"]
    assert path.stem == f"{framework.replace('/', '-')}@{version}"
    dialect = framework.partition("/")[0]
    asked = {i.id for i in QUESTIONS if i.experiment and dialect in i.asked_of}
    assert set(content["answers"]) <= asked
    if "from" not in content:
        assert set(recorded(framework, version)) == asked


def test_the_newest_version_is_recorded_unless_told_otherwise():
    assert recorded("torch") == recorded("torch", "2.13") == recorded("torch", "2.13.0")
    with pytest.raises(InvalidValue, match=r"recorded versions: 2\.13\.0"):
        recorded("torch", "2.1")


def test_asking_what_cannot_be_asked_is_refused():
    with pytest.raises(InvalidValue, match="no question has the id"):
        question("no-such-question")
    with pytest.raises(InvalidValue, match="can be put to"):
        ask(question("training-argument"), Ours("torch"))


def test_answers_are_compared_within_the_tolerance():
    item = question("weight-of-the-new-batch")
    assert same(item, 0.1, 0.1 + item.tolerance / 2)
    assert not same(item, 0.1, 0.1 + item.tolerance * 2)
    assert same(item, {"call": ["error"]}, {"call": ["ValueError"]})
    assert not same(item, "TypeError", "ValueError")
    assert not same(item, True, 1)
    assert not same(item, None, "None")


def test_recording_keeps_answers_that_are_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(record_file, "ANSWERS", tmp_path)
    ours = Ours("torch")
    path = record_answers(ours, "torch")
    assert path.parent == tmp_path
    assert recorded("torch", ours.version) == ask_all(ours)

    noisy = ask_all(ours) | {"default-epsilon": 1.0000001e-5, "batch-counter": 7}
    record_file.save("torch", ours.version, noisy)
    record_answers(ours, "torch")
    assert recorded("torch")["default-epsilon"] == 1.0000001e-5
    assert recorded("torch")["batch-counter"] == 2


def test_a_backend_records_what_differs(tmp_path, monkeypatch):
    monkeypatch.setattr(record_file, "ANSWERS", tmp_path)
    ours = Ours("keras")
    record_file.save("keras", ours.version, ask_all(ours) | {"training-mode": "other"})
    content = json.loads(record_answers(ours, "keras/jax").read_text(encoding="utf-8"))
    assert content["like"] == "keras"
    assert list(content["answers"]) == ["training-mode"]
    assert recorded("keras/jax") == ask_all(ours)
