"""Ports written by hand, each another net: their faults are named on their layers, nothing else."""

import pytest

from batchnorm.diagnose import diagnose

for package in ("torch", "mindspore", "keras", "tf_keras"):
    pytest.importorskip(package)
hand_written = pytest.importorskip("hand_written")


@pytest.mark.parametrize("port", hand_written.PORTS, ids=lambda port: port.__name__)
def test_the_faults_are_named_and_nothing_else(port):
    source, faulty, batch, expected = port()
    report = diagnose(source, faulty, batch)
    found = {}
    for finding in report.findings:
        found.setdefault(finding.cause, []).extend(finding.layers)
    assert {c: sorted(n) for c, n in found.items()} == expected, f"{report}"
