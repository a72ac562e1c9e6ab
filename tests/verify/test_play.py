"""A case played on two subjects: what one step is off by doesn't count in the next one."""

import numpy as np
import pytest

from batchnorm.questions.subject import Ours
from batchnorm.verify.compare import compare
from batchnorm.verify.draw import Case, Step
from batchnorm.verify.play import play


class Off(Ours):
    """Our layers, whose running mean is three units in the last place off after the first step."""

    def layer(self, class_name, *args, **kwargs):
        layer = super().layer(class_name, *args, **kwargs)
        run, calls = layer.run, []

        def rounded(x, dy=None, **call):
            found = run(x, dy, **call)
            calls.append(x)
            if len(calls) == 1:
                state = layer.state()
                mean = state["running_mean"]
                other = (mean.view(np.int16) + 3).view(mean.dtype)
                layer.load_state(state | {"running_mean": other})
            return found

        layer.run = rounded
        return layer


def case(*steps):
    bfloat16 = np.dtype("bfloat16")
    arguments = {"num_features": 2, "dtype": bfloat16}
    return Case("torch", "BatchNorm2d", arguments, "bfloat16", (1,), steps, seed=3)


@pytest.mark.parametrize(
    "later",
    [
        Step((0, 2, 2, 2)),  # moves nothing
        Step((3, 2, 2, 2), training=False),  # normalizes by the mean
        Step((3, 2, 2, 2), changes=(("momentum", 1.0),)),
    ],
)
def test_a_step_is_compared_from_the_state_that_the_framework_had_before_it(later):
    told = case(Step((3, 2, 2, 2)), later)
    theirs = play(Off("torch"), told)
    own = play(Ours("torch"), told, following=theirs)
    assert compare(told, theirs, own).disagreement is None


def test_without_following_a_rounding_stays():
    told = case(Step((3, 2, 2, 2)), Step((0, 2, 2, 2)))
    found = compare(told, play(Off("torch"), told), play(Ours("torch"), told))
    assert found.disagreement.where == "step 2: state running_mean"


def test_a_state_that_is_wrong_is_found_where_it_became_so():
    told = case(Step((3, 2, 2, 2)), Step((3, 2, 2, 2)))
    wrong = case(Step((3, 2, 2, 2), changes=(("momentum", 0.5),)), Step((3, 2, 2, 2)))
    theirs = play(Ours("torch"), told)
    found = compare(told, theirs, play(Ours("torch"), wrong, following=theirs))
    assert found.disagreement.where.startswith("step 1: state running_")
