"""Our layers against the installed frameworks: what `batchnorm verify` does, as tests."""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchnorm.questions import QUESTIONS, ask, same
from batchnorm.verify.bad_calls import bad_calls
from batchnorm.verify.deviations import find, read
from batchnorm.verify.signatures import signatures
from batchnorm.verify.verification import compare_case, draw

DRAWN = int(os.environ.get("BATCHNORM_EXAMPLES", "200"))  # per framework


class Drawing:
    """A chooser whose choices hypothesis makes, and shrinks towards the first options."""

    def __init__(self, draw):
        self.draw = draw

    def of(self, options):
        return self.draw(st.sampled_from(options))


@st.composite
def cases(draw_from, dialect):
    return draw(Drawing(draw_from), dialect)


def describe(finding):
    found = finding.disagreement
    return f"{finding.subject}\nat {found.where}\ntheirs: {found.theirs}\nours: {found.ours}"


def listed(oracle, kind, name):
    return find(read(), oracle.framework, kind, [name]) is not None


def test_signatures_are_the_same(oracle, ours):
    found = [(name, d) for name, d in signatures(oracle, ours) if d is not None]
    assert not [(name, d) for name, d in found if not listed(oracle, "signature", name)]


def test_questions_have_one_answer(oracle, ours):
    differ = {}
    for question in QUESTIONS:
        if question.experiment is None or oracle.dialect not in question.asked_of:
            continue
        theirs, own = ask(question, oracle), ask(question, ours)
        if not same(question, theirs, own) and not listed(oracle, "question", question.id):
            differ[question.id] = {"theirs": theirs, "ours": own}
    assert not differ


def test_calls_at_the_edge_end_alike(oracle, ours):
    outcomes = [compare_case(oracle, ours, case) for case in bad_calls(oracle.dialect)]
    unlisted = [f for f, _, _ in outcomes if f is not None and f.deviation is None]
    assert not unlisted, "\n\n".join(map(describe, unlisted))
    assert sum(raised for _, _, raised in outcomes) > 60  # the table does hold bad calls


def test_drawn_settings_shapes_dtypes_and_modes_agree(oracle, ours):
    refused = []

    @settings(
        max_examples=DRAWN,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases(oracle.dialect))
    def compare(case):
        finding, _, raised = compare_case(oracle, ours, case)
        refused.append(raised)
        assert finding is None or finding.deviation is not None, describe(finding)

    compare()
    assert len(refused) >= DRAWN
    assert sum(refused) < 0.6 * len(refused), "most cases are to be ones that run"
