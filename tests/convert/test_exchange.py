"""Layers that only the order of listing tells apart are never exchanged in silence.

Nets are drawn whose layers have one width (or one a stage), under drawn names and in drawn orders
of registration, with their calls or without: what is converted with exit code 0 computes the same.
"""

import random
from collections import defaultdict

import numpy as np
import pytest
from drawn_nets import ORDERS, SCHEMES, Net, arrays_of, configured, state
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import batchnorm as bn

STATE = ("weight", "bias", "running_mean", "running_var")


def converted(net, names, orders, wired=(False, False), **options):
    """The conversion of one drawing into another, and whether both compute the same."""
    mine, theirs = net.arrays(1), net.arrays(2)
    source, like = (
        configured(net, arrays, own, order) if config else state(arrays, own, order)
        for arrays, own, order, config in zip((mine, theirs), names, orders, wired, strict=True)
    )
    options |= {} if wired[0] else {"from_framework": "torch"}
    done = bn.convert(source, to="keras" if wired[1] else "torch", like=like, **options)
    if wired[1]:
        found = arrays_of(net, names[1], done.load())
    else:
        layer, found = {name: i for i, name in names[1].items()}, defaultdict(dict)
        for name, value in done.load().items():
            path, _, leaf = name.rpartition(".")
            found[layer[path]][leaf] = value
    if any(len(found.get(i, ())) < len(own) for i, own in theirs.items()):
        return done, False
    x = np.random.default_rng(0).normal(0, 1, (2, 3, 5, 5)).astype("f4")
    wanted = net.logits(mine, x)
    size = max(1, np.abs(wanted).max())
    return done, np.allclose(wanted, net.logits(found, x), 1e-3, 1e-4 * size)


def drawn(seed, schemes, orders):
    """A net of that seed under names and in orders of registration of both sides, converted."""
    draw = random.Random(seed)
    net = Net(draw)
    names = [net.names(scheme, draw) for scheme in schemes]
    return converted(net, names, [net.order(order, draw) for order in orders])


# The same draws each time.
@settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(
    seed=st.integers(0, 2**32),
    schemes=st.tuples(st.sampled_from(SCHEMES), st.sampled_from(SCHEMES)),
    orders=st.tuples(st.sampled_from(ORDERS), st.sampled_from(ORDERS)),
)
def test_what_is_converted_without_a_question_computes_the_same(seed, schemes, orders):
    done, same = drawn(seed, schemes, orders)
    assert done.report.exit_code == 1 or same


@pytest.mark.parametrize(
    ("seed", "schemes", "orders"),
    [
        (3397503047, ("mostly", "counted"), ("run", "shuffled in blocks")),
        (879700185, ("blocks", "numbered"), ("shuffled in blocks", "shuffled in blocks")),
        (649242341, ("numbered", "blocks"), ("run", "blocks shuffled")),
    ],
)
def test_branches_that_two_sides_number_in_different_orders_are_asked_about(seed, schemes, orders):
    """A layer of another shape shows that the numbers count in different orders."""
    done, same = drawn(seed, schemes, orders)
    assert not same
    assert done.report.exit_code == 1


@pytest.mark.parametrize(
    ("seed", "schemes", "orders"),
    [
        # Two words and the listing agree; a norm's module holds its convolution, and they don't.
        (3273731620, ("nested", "by feeder"), ("few exchanged", "pairs exchanged")),
        # One word, twice: of a convolution and of its norm in the same module.
        (1740766969, ("by feeder", "by feeder"), ("pairs exchanged", "branches first")),
        # The numbers of hashes.
        (3347854077, ("hex", "blocks"), ("shuffled", "branches last")),
    ],
)
def test_words_and_numbers_that_agree_by_chance_are_no_reason(seed, schemes, orders):
    done, same = drawn(seed, schemes, orders)
    assert not same
    assert done.report.exit_code == 1


def test_numbers_of_one_side_against_the_calls_of_the_other_are_asked_about():
    """`conv2` is listed before `conv1`, and beside the norm that the first of them feeds."""
    draw = random.Random(1555809268)
    net = Net(draw, (1, 6), draw.choice([(6,), (4, 6, 8)]))
    names = [net.names(scheme, draw) for scheme in ("hex", "stem on top")]
    orders = [net.order(order, draw) for order in ("shuffled in blocks", "few exchanged")]
    done, same = converted(net, names, orders, (True, False))
    assert not same
    assert done.report.exit_code == 1


@pytest.mark.parametrize("alone", [True, False])
def test_a_stem_s_norm_is_told_by_the_widths_in_its_module(alone):
    """`bn1` and the first block's norm have one shape; with three channels in, it is the stem's."""

    def kernel(path, *shape):
        return {f"{path}.weight": np.zeros(shape, "f4")}

    def norm(path, n):
        return {f"{path}.{leaf}": np.full(4, n, "f4") for leaf in STATE}

    taken = 3 if alone else 4
    a = {
        **kernel("conv_stem", 4, taken, 3, 3),
        **norm("bn1", 1),
        **kernel("blocks.0.conv_dw", 4, 1, 3, 3),
    }
    a |= {**norm("blocks.0.bn1", 2), **kernel("classifier", 9, 5)}
    b = {**kernel("features.0.0", 4, taken, 3, 3), **norm("features.0.1", 0)}
    b |= {**kernel("features.1.0.0", 4, 1, 3, 3), **norm("features.1.0.1", 0), **kernel("fc", 9, 5)}
    done = bn.convert(a, from_framework="torch", to="torch", like=b)
    assert done.report.exit_code == (0 if alone else 1)
    assert (done.load()["features.0.1.weight"] == 1).all()


def test_a_norm_named_after_the_next_convolution_on_one_side_is_asked_about():
    """Registered before it on the other side too, it is taken for that convolution's own."""
    done, same = drawn(2494, ("by eater", "by feeder"), ("run", "few exchanged"))
    assert done.report.exit_code == 1 or same


@settings(max_examples=25, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 2**32),
    schemes=st.tuples(st.sampled_from(SCHEMES), st.sampled_from(SCHEMES)),
    order=st.sampled_from(ORDERS),
    wired=st.tuples(st.booleans(), st.booleans()),
)
def test_nor_is_a_few_of_many_layers_exchanged_in_silence(seed, schemes, order, wired):
    draw = random.Random(seed)
    net = Net(draw, (8, 34), draw.choice([(6,), (4, 6, 8)]))
    names = [net.names(scheme, draw) for scheme in schemes]
    orders = [net.order("run", draw), net.order(order, draw)]
    draw.shuffle(orders)
    done, same = converted(net, names, orders, wired)
    assert done.report.exit_code == 1 or same


@pytest.mark.parametrize("schemes", [("blocks", "numbered"), ("counted", "blocks")])
def test_names_that_count_alike_need_no_question(schemes):
    draw = random.Random(3)
    net = Net(draw, kinds=("plain", "chain", "concatenated", "uneven"))
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
