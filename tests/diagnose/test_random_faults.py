"""A law: whatever the layers, dialects and batch, a fault is named, and nothing else on top."""

import faultless
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchnorm.diagnose import diagnose

DIALECTS = faultless.DIALECTS
ROLES = ("gamma", "beta", "running_mean", "running_var")


def changed(layer, change):
    """With a state that a function has made of its values by role."""
    names = {layer.STATE[name].role: name for name in layer.state}
    state = layer.state
    values = {role: state[names[role]].copy() for role in ROLES}
    for role, value in change(values).items():
        state[names[role]] = np.float32(value)
    layer.load_state(state)


def exchanged(a, b):
    return lambda v: {a: v[b], b: v[a]}


def rolled(values):
    return {role: np.roll(value, 1) for role, value in values.items()}


STATES = {
    "statistics-not-loaded": lambda v: {"running_mean": v["beta"] * 0,
                                        "running_var": v["beta"] * 0 + 1},
    "affine-not-loaded": lambda v: {"gamma": v["beta"] * 0 + 1, "beta": v["beta"] * 0},
    "mean-variance-swapped": exchanged("running_mean", "running_var"),
    "gamma-beta-swapped": exchanged("gamma", "beta"),
    "channels-permuted": rolled,
    "variance-shifted": lambda v: {"running_var": v["running_var"] + 0.01},
    "variance-is-std": lambda v: {"running_var": np.sqrt(v["running_var"])},
}  # fmt: skip
SETTINGS = {"momentum-inverted", "momentum-differs", "epsilon-differs"}


@st.composite
def cases(draw):
    return (
        draw(st.lists(st.sampled_from([*sorted(SETTINGS), *STATES]), min_size=1, max_size=2,
                      unique=True)),
        draw(st.sampled_from(DIALECTS)),
        draw(st.sampled_from(DIALECTS)),
        draw(st.integers(2, 9)),
        (draw(st.integers(2, 16)), *draw(st.sampled_from([(), (3, 2), (5, 5)]))),
        draw(st.sampled_from([1e-5, 1e-4, 1e-6])),
        draw(st.sampled_from([0.1, 0.01, 0.03, 0.3])),
        draw(st.integers(0, 10**6)),
    )  # fmt: skip


def made(dialect, rank, channels, epsilon, factor, seed):
    layer = faultless.random_layer(
        np.random.default_rng(seed), dialect, rank, channels, epsilon, factor
    )
    draw = np.random.default_rng(seed + 1)
    changed(layer, lambda v: {
        "gamma": draw.uniform(0.4, 2, channels), "beta": draw.normal(0, 1, channels),
        "running_mean": draw.normal(0, 1, channels), "running_var": draw.uniform(0.2, 3, channels),
    })  # fmt: skip
    if hasattr(layer, "training"):
        layer.training = True
    return layer


@given(cases())
@settings(max_examples=80, deadline=None, derandomize=True)
def test_faults_of_random_layers_are_named(case):
    check(*case)


def check(causes, source, port, channels, places, epsilon, factor, seed):
    batch, *space = places
    rank = 2 + len(space)
    if len(set(causes) & set(STATES)) == 2:
        causes = causes[:1]  # of one state; those of different kinds are tried together
    if {"momentum-inverted", "momentum-differs"} <= set(causes):
        causes = causes[:1]
    one = made(source, rank, channels, epsilon, factor, seed)
    moved = {"momentum-inverted": 1 - factor, "momentum-differs": factor / 3}
    own = next((moved[c] for c in causes if c in moved), factor)
    other = made(port, rank, channels, 1e-2 if "epsilon-differs" in causes else epsilon, own, seed)
    for cause in causes:
        if cause in STATES:
            changed(other, STATES[cause])
    x = np.random.default_rng(seed + 2).normal(0.3, 1.4, (batch, channels, *space))
    report = diagnose(one, other, x.astype(np.float32))
    assert set(report.causes) == set(causes), f"{report}"


def test_random_cases_are_of_every_cause():
    """What is drawn above is not always the same few."""
    assert len({*SETTINGS, *STATES}) == 10
    with pytest.raises(AssertionError):
        check(["not-a-cause"], "torch", "keras", 4, (8, 3, 2), 1e-5, 0.1, 0)
