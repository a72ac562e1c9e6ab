"""The suite as tests of pytest: `-p batchnorm.conformance.plugin --bn-layer m:adapter`.

Nothing loads it but `-p`. Each question and each drawn case is a test of its own, beside whatever
tests are collected; `-m batchnorm` runs these alone, and `-k` chooses among them. What is expected
to fail is an xfail, strict; what isn't asked is skipped, with its reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from batchnorm.conformance import expected
from batchnorm.conformance.adapter import load
from batchnorm.conformance.suite import Check, checks_of
from batchnorm.errors import BatchNormError

__all__: list[str] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    """What the command takes, each with --bn- before it."""
    group = parser.getgroup("batchnorm", "does a layer do as a framework's does")
    group.addoption("--bn-layer", metavar="PACKAGE.MODULE:ADAPTER", help="docs/conformance.md")
    group.addoption("--bn-dialect", default=None, help="torch, mindspore, tf_keras or keras")
    group.addoption("--bn-expected", type=Path, metavar="FILE", help="TOML: what is known to fail")
    group.addoption("--bn-examples", type=int, default=100, help="drawn cases (100)")
    group.addoption("--bn-seed", type=int, default=0, help="of the drawn cases (0)")


def pytest_configure(config: pytest.Config) -> None:
    """Say what the mark is, and that a dialect is needed."""
    config.addinivalue_line("markers", "batchnorm: conformance of --bn-layer to --bn-dialect")
    if bool(config.option.bn_layer) != bool(config.option.bn_dialect):
        raise pytest.UsageError("--bn-layer and --bn-dialect are given together")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Add the suite to what was collected, before -k and -m choose."""
    if config.option.bn_layer is None:
        return
    suite = Suite.from_parent(session, name=config.option.bn_layer, nodeid=config.option.bn_layer)
    report = config.hook.pytest_make_collect_report(collector=suite)
    config.hook.pytest_collectreport(report=report)
    items += report.result


class Suite(pytest.Collector):
    """A layer's questions and cases."""

    def collect(self) -> Iterable[pytest.Item]:
        """A test for each."""
        given = self.config.option
        try:
            known = {} if given.bn_expected is None else expected.read(
                given.bn_expected, given.bn_seed
            )  # fmt: skip
            checks = checks_of(
                load(given.bn_layer), given.bn_dialect, examples=given.bn_examples,
                seed=given.bn_seed,
            )  # fmt: skip
        except BatchNormError as error:
            raise pytest.UsageError(str(error)) from None
        for check in checks:
            yield Put.from_parent(self, name=check.name, check=check, known=known)


class Put(pytest.Item):
    """One question or case."""

    def __init__(self, *, check: Check, known: Mapping[str, str], **settings: object) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]
        self.check, self.known = check, known
        self.add_marker("batchnorm")

    def runtest(self) -> None:
        """Put it to the layer."""
        result = self.check.run(self.known)
        if result.outcome == "not asked":
            pytest.skip(result.reason)
        if result.outcome == "expected":
            pytest.xfail(result.reason)
        if result.outcome == "passed unexpectedly":
            pytest.fail(f"passed, but was expected to fail: {result.reason}", pytrace=False)
        if result.outcome == "failed":
            pytest.fail(f"{result}\n{result.what}", pytrace=False)

    def reportinfo(self) -> tuple[str, None, str]:
        """What stands in the report's headings."""
        return self.config.option.bn_layer, None, self.name
