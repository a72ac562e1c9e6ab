"""Layers that only the order of listing tells apart are never exchanged in silence.

Nets are drawn whose layers have one width, under drawn names and in drawn orders of registration:
what is converted with exit code 0 computes the same.
"""

import random
from collections import defaultdict

import numpy as np
import pytest
from drawn_nets import ORDERS, SCHEMES, Net, state
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import batchnorm as bn


def converted(net, names, orders, **options):
    """The conversion of one drawing into another, and whether both compute the same."""
    mine, theirs = net.arrays(1), net.arrays(2)
    source = state(mine, names[0], orders[0])
    like = state(theirs, names[1], orders[1])
    done = bn.convert(source, from_framework="torch", to="torch", like=like, **options)
    layer = {name: i for i, name in names[1].items()}
    found = defaultdict(dict)
    for name, value in done.load().items():
        path, _, leaf = name.rpartition(".")
        found[layer[path]][leaf] = value
    if len(found) < len(names[1]):
        return done, False
    x = np.random.default_rng(0).normal(0, 1, (2, 3, 5, 5)).astype("f4")
    return done, np.allclose(net.logits(mine, x), net.logits(found, x), 1e-3, 1e-4)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 2**32),
    schemes=st.tuples(st.sampled_from(SCHEMES), st.sampled_from(SCHEMES)),
    orders=st.tuples(st.sampled_from(ORDERS), st.sampled_from(ORDERS)),
)
def test_what_is_converted_without_a_question_computes_the_same(seed, schemes, orders):
    draw = random.Random(seed)
    net = Net(draw)
    names = [net.names(scheme, draw) for scheme in schemes]
    done, same = converted(net, names, [net.order(order, draw) for order in orders])
    assert done.report.exit_code == 1 or same


@pytest.mark.parametrize("schemes", [("blocks", "numbered"), ("counted", "blocks")])
def test_names_that_count_alike_need_no_question(schemes):
    draw = random.Random(3)
    net = Net(draw)
    names = [net.names(scheme, draw) for scheme in schemes]
    done, same = converted(net, names, [net.order("run", draw)] * 2)
    assert done.report.exit_code == 0, done.report.doubts or done.report.problems
    assert same


def test_an_order_that_nothing_supports_is_said_and_can_be_assumed():
    a = {f"{n}.weight": np.full((4, 4, 3, 3), i, "f4") for i, n in enumerate(("left", "right"))}
    b = {f"{n}.weight": np.zeros((4, 4, 3, 3), "f4") for n in ("upper", "lower")}
    done = bn.convert(a, from_framework="torch", to="torch", like=b)
    (doubt,) = done.report.doubts
    assert "'left' and 'right' could be 'lower' and 'upper'" in doubt
    assert "--assume-order" in doubt
    assert done.report.exit_code == 1
    assumed = bn.convert(a, from_framework="torch", to="torch", like=b, assume_order=True)
    assert assumed.report.exit_code == 0
    assert (assumed.load()["lower.weight"] == 1).all()
    told = bn.convert(
        a, from_framework="torch", to="torch", like=b, map={"layers": {"left": "lower"}}
    )
    assert told.report.exit_code == 0
    assert (told.load()["upper.weight"] == 1).all()
