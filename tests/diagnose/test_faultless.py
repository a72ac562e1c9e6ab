"""No fault, no finding: a sample of the thousand ports that `faultless.py` draws."""

import importlib.util

import faultless
import pytest


@pytest.mark.parametrize("first", range(0, 80, 20))
def test_faultless_layers_have_no_finding(first):
    for seed in range(first, first + 20):
        name, report = faultless.false_alarms("layers", seed)
        assert report is None, f"{seed} {name}\n{report}"


@pytest.mark.parametrize("seed", [*range(100, 116), 23, 42, 62, 131])
def test_faultless_nets_have_no_finding(seed):
    package = {"keras": "tensorflow"}
    to = faultless.PORTS[seed % len(faultless.PORTS)]
    if importlib.util.find_spec(package.get(to, to)) is None:
        pytest.skip(f"{to} isn't installed")
    _, report = faultless.false_alarms("nets", seed)
    assert report is None, f"{report}"
