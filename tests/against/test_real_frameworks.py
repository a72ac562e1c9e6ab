"""Our layers against the installed frameworks: what `batchnorm verify` does, as tests."""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import batchnorm as bn
from batchnorm.questions import QUESTIONS, ask, same
from batchnorm.verify.bad_calls import bad_calls
from batchnorm.verify.deviations import find, read
from batchnorm.verify.signatures import signatures
from batchnorm.verify.verification import compare_case, draw, verify_oracle

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


@pytest.mark.parametrize(("examples", "seed"), [(100, 0), (60, 41)])
def test_plain_verify_finds_nothing_unlisted(oracle, examples, seed):
    """The command's own drawing, beside hypothesis' above; 0 is its default seed."""
    rows = list(verify_oracle(oracle, examples, seed=seed))
    assert [row.compared for row in rows if row.what == "drawn cases"] == [examples]
    assert not [row.crash for row in rows if row.crash]
    unlisted = [finding for row in rows for finding in row.unlisted]
    assert not unlisted, "\n\n".join(map(describe, unlisted))


def changed_layer(dialect):
    """A layer whose settings and state are not those of its construction."""
    if dialect == "torch":
        layer = bn.torch.BatchNorm2d(3, momentum=None, dtype="float64")
        layer.eps, layer.running_mean[...] = 0.5, 2
    elif dialect == "mindspore":
        layer = bn.mindspore.BatchNorm3d(3, momentum=0.3, use_batch_statistics=True)
        layer.eps, layer.gamma[...] = 0.5, 2  # MindSpore ignores a later eps
    else:
        module = bn.tf_keras if dialect == "tf_keras" else bn.keras
        layer = module.BatchNormalization(axis=1, renorm=True, renorm_clipping={"rmax": 1.1})
        layer.build((4, 3, 2))
        layer.epsilon, layer.gamma[...] = 0.5, 2
    return layer


def test_one_layer_with_its_settings_and_state_agrees(oracle):
    (row,) = verify_oracle(oracle, 25, layer=changed_layer(oracle.dialect))
    assert not row.unlisted, "\n\n".join(map(describe, row.unlisted))
    assert (row.compared, row.crash) == (25, "")
    assert row.raised < 15
