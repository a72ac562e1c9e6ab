"""The recorded answers are those of the installed frameworks: each is asked everything again."""

import os

import pytest

from batchnorm.questions import QUESTIONS, ask, recorded, same
from batchnorm.questions.record import versions
from batchnorm.verify.oracle import FRAMEWORKS, NotInstalled, Oracle


def missing(reason):
    """A user may lack a framework; CI may not."""
    if os.environ.get("CI"):
        pytest.fail(f"in CI every framework is there, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="module", params=FRAMEWORKS)
def oracle(request):
    try:
        started = Oracle(request.param).start()
    except NotInstalled as error:
        missing(str(error))
    with started:
        if started.version not in versions(request.param):
            missing(f"{started.label} is installed, recorded are {versions(request.param)}")
        yield started


def test_the_installed_framework_answers_as_recorded(oracle):
    answers = recorded(oracle.framework, oracle.version)
    asked = [q for q in QUESTIONS if q.experiment and oracle.dialect in q.asked_of]
    found = {q.id: ask(q, oracle) for q in asked}
    changed = [q.id for q in asked if not same(q, found[q.id], answers[q.id])]
    assert {id: found[id] for id in changed} == {id: answers[id] for id in changed}
    assert set(answers) == set(found)
