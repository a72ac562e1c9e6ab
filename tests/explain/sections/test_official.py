"""Claims about the official pages stand on questions that exist."""

import pytest

from batchnorm.explain import page
from batchnorm.explain.sections.claims import CLAIMS
from batchnorm.questions import QUESTIONS

ALL = [claim for claims in CLAIMS.values() for claim in claims]


@pytest.mark.parametrize("claim", ALL, ids=lambda claim: claim.id)
def test_every_claim_names_questions_that_exist(claim):
    assert claim.questions
    assert set(claim.questions) <= {question.id for question in QUESTIONS}


@pytest.mark.parametrize("pair", CLAIMS)
def test_every_claim_stands_in_the_page_with_its_evidence(pair):
    found = page(*pair)
    (table,) = next(s for s in found.sections if s.id == "official-page").blocks[1:]
    assert [row.id for row in table.rows] == [f"claim-{claim.id}" for claim in CLAIMS[pair]]
    for row, claim in zip(table.rows, CLAIMS[pair], strict=True):
        assert all(f"(#{id})" in row.cells[2] for id in claim.questions)
