"""The real frameworks on vectors: within the bounds of the exact answers."""

import os

from batchnorm.conformance import vectors

EXAMPLES = int(os.environ.get("BATCHNORM_EXAMPLES", "200")) // 8


def test_real_layers_lie_within_the_bounds(oracle):
    outside = {}
    for vector in vectors(oracle.dialect, examples=EXAMPLES):
        for place, share in vector.shares(oracle).items():
            if share > 1:
                outside[f"{vector.file_name} {place}"] = share
    assert outside == {}
