"""Pages as data: anchors, links, languages, and what the two directions share."""

import itertools

import pytest

from batchnorm.errors import BatchNormError
from batchnorm.explain import explain, page
from batchnorm.explain.page import Paragraph, Row, Table, spans
from batchnorm.explain.sides import NAMES, NEWEST
from batchnorm.questions import QUESTIONS

PAIRS = list(itertools.permutations(NEWEST, 2))


def texts(found):
    """Every text of a page that can hold a link."""
    for section in found.walk():
        yield section.title
        for block in section.blocks:
            if isinstance(block, Paragraph):
                yield block.text
            elif isinstance(block, Table):
                yield from (cell for row in block.rows for cell in row.cells)


@pytest.mark.parametrize(("a", "b"), list(itertools.permutations(NAMES, 2)))
def test_anchors_are_unique_and_links_lead_to_one(a, b):
    found = page(a, b)
    ids = found.ids()
    assert len(ids) == len(set(ids))
    targets = {
        span.target
        for text in texts(found)
        for span in spans(text)
        if span.kind == "link" and span.target.startswith("#")
    }
    assert {target.removeprefix("#") for target in targets} <= set(ids)


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_every_question_that_a_side_can_be_asked_has_its_anchor(a, b):
    asked = {question.id for question in QUESTIONS if {a, b} & set(question.asked_of)}
    assert asked <= set(page(a, b).ids())


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_both_languages_say_the_same_things(a, b):
    english, chinese = page(a, b, "en"), page(a, b, "zh")
    assert english.ids() == chinese.ids()
    for one, other in zip(english.walk(), chinese.walk(), strict=True):
        assert one.data == other.data
        assert [type(block) for block in one.blocks] == [type(block) for block in other.blocks]


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize(("a", "b"), [("torch", "keras"), ("tf_keras@2.6", "mindspore@2.0")])
def test_no_placeholder_or_empty_text_is_left(a, b, lang):
    for text in texts(page(a, b, lang)):
        assert text.strip()
        prose = "".join(span.text for span in spans(text) if span.kind == "text")
        assert "{" not in prose


def test_both_directions_have_the_same_questions():
    one, other = page("torch", "mindspore"), page("mindspore", "torch")
    ids = {question.id for question in QUESTIONS}
    assert ids & set(one.ids()) == ids & set(other.ids())


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("torhc", "keras"), "did you mean 'torch'"),
        (("pytorch", "PyTorch"), "the same"),
        (("mindspore@1.9", "torch"), "known versions: mindspore@2.10.0, mindspore@2.0.0"),
        (("torch", "torch@2.13"), "the same"),
        (("torch", "keras", "pdf"), "no format 'pdf'"),
        (("torch", "keras", "md", "fr"), "language 'fr'"),
        (("", "keras"), "unknown framework ''; expected one of torch"),
    ],
)
def test_bad_arguments_say_what_was_expected(arguments, text):
    with pytest.raises(BatchNormError, match=text):
        explain(*arguments)


def test_a_table_refuses_a_row_of_another_width():
    with pytest.raises(ValueError, match="0 columns has 1 cells"):
        Table((), (Row(("one",)),))
