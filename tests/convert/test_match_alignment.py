"""Aligning two long sides costs in proportion to what they differ by, and finds the same."""

import importlib
import random

import pytest

alignment = importlib.import_module("batchnorm.graph.alignment")


def sides(draw):
    """A few blocks, some lost, some in another order, some with more layers."""
    kinds = draw.choice([1, 2, 3, 6])
    pieces = [[draw.randrange(kinds) for _ in range(draw.randint(1, 4))] for _ in range(12)]
    layers, parts = [], []
    for i, piece in enumerate(pieces):
        own = draw.sample(piece, len(piece)) if draw.random() < 0.2 else piece
        own = own if draw.random() > 0.1 else []
        more = [draw.randrange(kinds + 1)] * draw.choice([0, 0, 0, 1, 3])
        layers += [*more, *own]
        parts += [["x", str(i), "aux", str(k)] for k in range(len(more))]
        parts += [["x", str(i), str(k)] for k in range(len(own))]
    return layers, pieces, alignment.blocks(parts)[1]


def test_a_narrow_band_finds_what_the_whole_table_finds(monkeypatch):
    draw = random.Random(0)
    partly = 0
    for _ in range(200):
        layers, pieces, ends = sides(draw)
        monkeypatch.setattr(alignment, "NARROW", 1)
        found = alignment.aligned(layers, pieces, ends)
        monkeypatch.setattr(alignment, "NARROW", 1000)
        assert found == alignment.aligned(layers, pieces, ends)
        partly += any(found) and not all(found)
    assert partly > 20


@pytest.mark.parametrize("alike", [True, False])
def test_one_more_branch_among_a_thousand_layers_costs_a_band_of_states(monkeypatch, alike):
    tables = []

    class Kept(alignment.Table):
        def fill(self):
            tables.append(self)
            return super().fill()

    monkeypatch.setattr(alignment, "Table", Kept)
    wanted = [0 if alike else i for i in range(1000)]
    layers = [*wanted[:500], "aux", *wanted[500:]]
    found = alignment.aligned(layers, [[w] for w in wanted], [[i + 1] for i in range(1001)])
    assert found == [(i, i + 1) for i in range(1001) if i != 500]
    assert [table.states < 1000 * 1000 / 20 for table in tables] == [True]
