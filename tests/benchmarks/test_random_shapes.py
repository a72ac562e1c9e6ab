"""The shapes that the random benchmark draws; it measures nothing here."""

import math

import pytest
from benchmarks.rows import read

from benchmarks import random_shapes


def test_the_committed_shapes_are_those_that_its_first_line_draws():
    assert random_shapes.FILE.read_text() == random_shapes.draw(200, 0)


def test_each_shape_has_at_least_two_values_per_channel_and_one_layout_and_type():
    rows = read("random")
    assert len(rows) == 3 * 200
    for case in rows:
        size = math.prod(case.shape)
        assert 2 * case.shape[1] <= size <= 2**24
        assert 2 <= len(case.shape) <= 5
    assert {case.dtype for case in rows} == {"float32", "bfloat16"}
    assert {case.layout for case in rows} == {"first", "last"}


def test_every_way_and_task_computes_on_a_drawn_row():
    pytest.importorskip("torch")
    case = min(read("random"), key=lambda case: math.prod(case.shape))
    ways = set()
    for way, task, (ours, theirs) in random_shapes.pairs(case):
        ours(), theirs()
        ways.add((way, task))
    tasks = {"inference", "training", "backward"}
    expected = {(way, task) for way in ("core", "layer") for task in tasks}
    assert ways == expected | {("host", "inference"), ("host", "step")}
