"""Graphs of live models, seen in one run; and conversion by the order of execution."""

import numpy as np
import pytest
from real_frameworks import NETS, needed, run_script

import batchnorm as bn
from batchnorm.errors import InvalidValue


@pytest.mark.parametrize("framework", ["torch", "mindspore", "keras", "tf_keras"])
def test_a_run_says_who_feeds_whom_and_settles_the_order(framework):
    for name in {"torch", framework}:
        needed(name)
    run_script(NETS / "live_graphs.py", framework)


def test_a_batch_without_a_live_model_is_a_mistake():
    with pytest.raises(InvalidValue, match="no live model to run it on"):
        bn.convert({"a.weight": np.ones((2, 2))}, from_framework="torch", to="torch", batch=[1])
