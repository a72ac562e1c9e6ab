"""No fault, no finding: a sample of the thousand ports that `faultless.py` draws."""

import faultless
import pytest


@pytest.mark.parametrize("first", range(0, 80, 20))
def test_faultless_layers_have_no_finding(first):
    for seed in range(first, first + 20):
        name, report = faultless.false_alarms("layers", seed)
        assert report is None, f"{seed} {name}\n{report}"


@pytest.mark.parametrize(
    ("kind", "seed"),
    [
        *(("nets", s) for s in range(100, 112)),
        *(("joined", s) for s in range(8)),
        *(("small", s) for s in (23, 42, 62, 131)),
    ],
)
def test_faultless_nets_have_no_finding(kind, seed):
    for package in ("torch", "tensorflow", "mindspore", "tf_keras"):
        pytest.importorskip(package)
    _, report = faultless.false_alarms(kind, seed)
    assert report is None, f"{report}"
