"""Programs run in their framework, and rewritten in every other, give the same numbers.

Each runs in a process of its own: four steps of gradient descent over five batch norms, with the
outputs, the gradients, the parameters and the running statistics after each, and inference.

How near is near enough is measured: the source's framework runs a second time with every input
moved to the next float32, up or down. What that does to an array, at most (or one rounding of its
largest number, if that is more), times ten, is what the rewritten program may differ by: it sums in
another order, which is rounding too.
"""

import json
import os
import subprocess
import sys
from functools import cache
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from batchnorm.rewrite import rewrite_source

PROGRAMS = Path(__file__).parent / "programs"
FRAMEWORKS = ("torch", "mindspore", "tf_keras", "keras")
COUNT = 4 * 5 * 5  # values per channel
ULP = np.finfo(np.float32).eps
CORRECTED = {"torch", "mindspore", "tf_keras"}  # whose running variance divides by n - 1


@cache
def numbers(source, *, nudged=False):
    environment = {**({"NUDGED": "1"} if nudged else {}),
                   **os.environ, "PYTHONPATH": str(PROGRAMS), "KERAS_BACKEND": "tensorflow",
                   "TF_CPP_MIN_LOG_LEVEL": "3", "GLOG_v": "4"}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-"],
        input=source,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    text = done.stdout[done.stdout.index("{") :]
    return {key: [np.array(v) for v in values] for key, values in json.loads(text).items()}


@pytest.mark.parametrize(("from_", "to"), list(permutations(FRAMEWORKS, 2)))
def test_a_rewritten_program_gives_the_same_numbers(from_, to):
    source = (PROGRAMS / f"from_{from_}.py").read_text()
    found = rewrite_source(source, from_=from_, to=to)
    assert not [site for site in found.sites if site.left or site.reason]
    after = found.after.decode()
    assert f"from {from_} import" not in after
    assert f"import {from_}\n" not in after
    ours, theirs, moved = numbers(source), numbers(after), numbers(source, nudged=True)
    assert ours.keys() == theirs.keys()
    for key in ours:
        values, others = list(ours[key]), list(theirs[key])
        moves = [(values, moved[key])]
        if to == "keras":  # which rounds more than the others: what it makes of it counts too
            moves.append((others, numbers(after, nudged=True)[key]))
        bounds = [
            10 * max(ULP * np.abs(value).max(), *(np.abs(a[i] - b[i]).max() for a, b in moves))
            for i, value in enumerate(values)
        ]
        assert len(values) == len(others)
        if key.endswith(" state"):
            factor, seed = weight_of_running(ours, key, from_), int(key.split()[1])
            start = factor ** (seed + 1)  # what is left of the initial variance, 1
            values[1], others[1] = (
                start + (value - start) * (1 if name in CORRECTED else COUNT / (COUNT - 1))
                for value, name in ((values[1], from_), (others[1], to))
            )
        if key.endswith(" settings"):
            np.testing.assert_allclose(values, others, rtol=ULP)
            continue
        if key.endswith(" inference"):
            for got, name in ((ours, from_), (theirs, to)):
                check_inference(got, key, name)
            continue
        for value, other, bound in zip(values, others, bounds, strict=True):
            assert bound < 1e-3 * np.abs(value).max()
            np.testing.assert_allclose(value, other, rtol=0, atol=bound, err_msg=key)


def weight_of_running(found, key, framework):
    """The attribute momentum, as the weight of the old value; MindSpore stores torch's number."""
    momentum = float(found[f"{key.split()[0]} settings"][1])
    return 1 - momentum if framework in ("torch", "mindspore") else momentum


def check_inference(found, key, framework):
    """Inference is by the running statistics, whatever denominator these have."""
    sys.path.insert(0, str(PROGRAMS))
    import around

    name = key.split()[0]
    mean, var, gamma, beta = (value.reshape(1, 3, 1, 1) for value in found[f"{name} 3 state"])
    epsilon = found[f"{name} settings"][0]
    x, _ = around.data(3)
    factor = gamma / np.sqrt(var + epsilon)
    expected = (x - mean) * factor + beta
    # Eight roundings at most, each of no more than the largest term.
    bound = 8 * ULP * ((np.abs(x) + np.abs(mean)) * np.abs(factor) + np.abs(beta))
    assert (np.abs(found[key][0] - expected) <= bound).all(), framework
