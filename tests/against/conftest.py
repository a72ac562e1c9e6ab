"""The real frameworks, one process each for all tests; one that is missing is an error in CI."""

import os

import pytest

from batchnorm.verify.oracle import NotInstalled, Oracle
from batchnorm.verify.verification import FRAMEWORKS, ours_of


@pytest.fixture(scope="session")
def oracles():
    """Started ones by framework; they start when they are first asked for."""
    started = {}
    yield started
    for oracle in started.values():
        if isinstance(oracle, Oracle):
            oracle.close()


@pytest.fixture(params=FRAMEWORKS)
def oracle(request, oracles):
    """One framework, in the same process from test to test."""
    name = request.param
    if name not in oracles:
        try:
            oracles[name] = Oracle(name).start()
        except NotInstalled as error:
            oracles[name] = error
    found = oracles[name]
    if isinstance(found, NotInstalled):
        if os.environ.get("CI"):
            pytest.fail(f"in CI every framework is there, but {found}")
        pytest.skip(str(found))
    return found


@pytest.fixture
def ours(oracle):
    """Our layers of the same dialect, in the variant of the framework's version."""
    return ours_of(oracle)
