"""Which questions a page lists as differing, and with which answers."""

import pytest

from batchnorm.explain import deviations, page
from batchnorm.explain.sections.answers import flat, show
from batchnorm.questions import QUESTIONS, question, recorded, same


def section(found, id):
    return next(section for section in found.walk() if section.id == id)


@pytest.mark.parametrize(("a", "b"), [("torch", "mindspore"), ("tf_keras", "keras")])
def test_differing_answers_are_sections_and_equal_ones_rows(a, b):
    found = page(a, b)
    headed = {inner.id for inner in found.walk()}
    backends = ["keras/torch", "keras/jax"] if b == "keras" else []
    every = [recorded(name) for name in (a, b, *backends)]
    for asked in QUESTIONS:
        answers = [one[asked.id] for one in every if asked.id in one]
        if asked.id in every[0] and asked.id in every[1]:
            differ = not all(same(asked, answers[0], answer) for answer in answers)
            assert (asked.id in headed) == differ, asked.id


def test_backends_that_answer_otherwise_have_a_column():
    table = section(page("torch", "keras"), "mask-on-one-channel").blocks[0]
    titles = [column.title for column in table.columns]
    assert "Keras 3.15.1 on TensorFlow" in titles
    assert "Keras 3.15.1 on torch, jax" in titles


def test_a_section_shows_the_recorded_answers_with_versions():
    found = section(page("torch", "mindspore"), "momentum-of-one")
    table = found.blocks[0]
    assert [column.title for column in table.columns] == ["PyTorch 2.13.0", "MindSpore 2.10.0"]
    assert table.rows[0].cells == (
        recorded("torch")["momentum-of-one"],
        recorded("mindspore")["momentum-of-one"],
    )
    assert question("momentum-of-one").consequence.en in found.blocks[-1].text


def test_the_running_variance_has_its_anchor_in_every_pair_of_dialects():
    assert "running-variance-denominator" in page("torch", "mindspore").ids()
    assert section(page("torch", "keras"), "running-variance-denominator")


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (True, "yes"),
        (None, "`None`"),
        (1e-05, "`1e-05`"),
        ("ValueError", "`ValueError`"),
        ("moving_mean", "`moving_mean`"),
        ("nan", "`nan`"),
        ("never moves", "never moves"),
        ([1, 2], "`[1, 2]`"),
        ([], "none"),
        ({"updates": False}, "updates: no"),
    ],
)
def test_an_answer_is_shown_without_python_in_it(answer, shown):
    assert show(answer, "en") == shown


def test_cases_that_are_code_stay_whole():
    found = section(page("tf_keras", "keras"), "channel-axis-values").blocks[0]
    assert "`[1, 3]`" in [row.cells[0] for row in found.rows]


def test_nested_answers_become_cases():
    assert flat({"training": {"updates": True}, "inference": 1}) == {
        ("training", "updates"): True,
        ("inference",): 1,
    }


@pytest.fixture
def listed(tmp_path, monkeypatch):
    file = tmp_path / "deviations.toml"
    file.write_text(
        """
[[deviation]]
dialect = "torch"
versions = ["2.13.0"]
question = ["momentum-of-one", "default-epsilon"]
reason = "A reason."
reason_zh = "一个原因。"
link = "https://example.org/why"

[[deviation]]
dialect = "keras"
versions = ["3.15.1"]
frameworks = ["keras/jax"]
question = "momentum-of-one"
reason = "Another reason."
reason_zh = "另一个原因。"
link = "https://example.org/jax"

[[deviation]]
dialect = "torch"
versions = ["2.13.0"]
signature = "device"
reason = "Not about a question."
reason_zh = ""
link = ""
"""
    )
    monkeypatch.setattr(deviations, "FILE", file)


@pytest.mark.usefixtures("listed")
def test_a_listed_deviation_shows_ours_and_the_reason():
    found = section(page("torch", "mindspore"), "momentum-of-one")
    table, reason = found.blocks[:2]
    titles = [column.title for column in table.columns]
    assert titles == ["PyTorch 2.13.0", "batchnorm as PyTorch", "MindSpore 2.10.0"]
    assert table.rows[0].cells[0] == table.rows[0].cells[1]
    assert "on purpose: A reason ([evidence](https://example.org/why))" in reason.text
    assert found.data["ours"] == {"torch": "holds the last batch only"}


@pytest.mark.usefixtures("listed")
def test_a_deviation_from_one_backend_names_it():
    found = section(page("torch", "keras"), "momentum-of-one")
    assert "deviates from Keras 3 on jax on purpose" in found.blocks[2].text
    assert deviations.deviation("keras/jax", "3.15.1", "momentum-of-one")
    assert not deviations.deviation("keras", "3.15.1", "momentum-of-one")
    assert not deviations.deviation("keras/jax", "3.0.0", "momentum-of-one")


@pytest.mark.usefixtures("listed")
def test_a_deviation_where_both_frameworks_agree_is_shown_too():
    (_, table) = section(page("torch", "mindspore"), "same").blocks
    (cell,) = (row.cells[1] for row in table.rows if row.id == "default-epsilon")
    assert cell.startswith("`1e-05`\nbatchnorm as PyTorch: `1e-05`\nbatchnorm deviates")


@pytest.mark.parametrize("id", ["float64-input", "integer-input", "complex-input"])
def test_where_both_refuse_only_the_classes_differ(id):
    assert "Neither side takes it" in section(page("torch", "mindspore"), id).blocks[-1].text
    assert section(page("torch", "keras"), id).blocks[-1].text.endswith(question(id).consequence.en)


def test_a_consequence_about_other_dialects_is_not_printed():
    id = "checkpoint-names-in-a-net"
    assert "MindSpore" in section(page("keras", "mindspore"), id).blocks[-1].text
    assert "mindspore" not in str(section(page("torch", "keras"), id).blocks).lower()


def test_freezing_is_what_forces_running_statistics_in_keras():
    table = section(page("mindspore", "tf_keras"), "forced-running-statistics").blocks[0]
    assert "`trainable=False`" in table.rows[0].cells[-1]


def test_a_number_is_shown_with_the_digits_that_are_known():
    table = section(page("tf_keras@2.6", "tf_keras"), "smallest-epsilon").blocks[0]
    assert table.rows[0].cells == ("`1e-05`", "`1e-07`")
    table = section(page("torch", "keras"), "constant-channel").blocks[0]
    assert "`< 1e-4`" in table.rows[0].cells
