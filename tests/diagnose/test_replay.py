"""What rounding may do to a sum: within what is allowed, and not far from it."""

import numpy as np
import pytest

from batchnorm.diagnose.replay import lost_in_sum, roundoff
from batchnorm.diagnose.trace import sampled

KINDS = {
    "all differ": lambda draw, shape: draw.normal(1, 0.2, shape),
    "an average pool": lambda draw, shape: np.broadcast_to(
        draw.normal(size=(*shape[:2], 1, 1)), shape
    ),
    "a pool and a ReLU": lambda draw, shape: (
        draw.normal(1, 0.3, (*shape[:2], 1, 1)) * (draw.random(shape) < 0.5)
    ),
    "one value": lambda draw, shape: np.ones(shape) * draw.normal(size=(1, shape[1], 1, 1)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 64, 40, 40), (8, 64, 14, 14), (32, 64, 5, 5)])
def test_a_sum_of_float32_added_one_by_one_is_within_what_it_may_lose(kind, shape):
    draw = np.random.default_rng(0)
    terms = np.float32(KINDS[kind](draw, shape))
    flat = terms.transpose(1, 0, 2, 3).reshape(shape[1], -1)
    exact, total = flat.sum(1, dtype=np.float64), np.abs(flat).sum(1, dtype=np.float64)
    off = np.abs(np.cumsum(flat, 1, dtype=np.float32)[:, -1] - exact) / (
        roundoff("float32") * total
    )
    allowed = lost_in_sum(sampled(terms), flat.shape[1])
    assert (off <= allowed).all()
    if kind == "one value":  # the root of n alone would accuse it
        assert (off > 2 * flat.shape[1] ** 0.5).any()
        assert off.max() > allowed[0] / 8
