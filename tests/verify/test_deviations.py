"""The listed deviations: well formed, about things that exist, and matched as they say."""

import numpy as np
import pytest

from batchnorm.errors import InvalidValue
from batchnorm.frameworks import find as find_framework
from batchnorm.questions import QUESTIONS
from batchnorm.verify.bad_calls import bad_calls
from batchnorm.verify.deviations import CLASSES, classes, find, read
from batchnorm.verify.draw import Case, Step
from batchnorm.verify.oracle import FRAMEWORKS

LISTED = read()
ENTRY = """
[[deviation]]
dialect = "torch"
versions = ["2.13.0"]
{more}
reason = "because"
reason_zh = "因为"
link = "https://example.org"
"""


def written(tmp_path, more):
    path = tmp_path / "deviations.toml"
    path.write_text(ENTRY.format(more=more), encoding="utf-8")
    return path


@pytest.mark.parametrize("listed", LISTED, ids=str)
def test_a_deviation_is_about_something_that_exists(listed):
    assert find_framework(listed.dialect).name == listed.dialect
    assert set(listed.frameworks) <= set(FRAMEWORKS)
    assert listed.link.startswith("https://")
    assert any("\u4e00" <= letter <= "\u9fff" for letter in listed.reason_zh)
    dialect = listed.dialect.partition("@")[0]
    framework = (listed.frameworks or (listed.dialect,))[0]
    known = {
        "question": [q.id for q in QUESTIONS if dialect in q.asked_of],
        "call": [case.name for case in bad_calls(dialect)],
        "drawn": list(CLASSES),
        "signature": [f"BatchNorm{n}d.__init__ dtype" for n in (1, 2, 3)],
    }[listed.kind]
    for name in listed.names:
        place = listed.at[0] if listed.at else ""
        one = type(listed)(**{**vars(listed), "names": (name,)})
        assert any(one.covers(framework, listed.kind, other, place) for other in known), name


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ("", "one of"),
        ('question = "a"\ncall = "b"', "one of"),
        ('question = "a"\nwher = "b"', "one of"),
        ('drawn = "no such class"', "no class"),
    ],
)
def test_an_entry_that_says_too_little_or_too_much_is_refused(tmp_path, more, complaint):
    with pytest.raises(InvalidValue, match=complaint):
        read(written(tmp_path, more))


def test_an_entry_covers_its_names_places_and_frameworks_only(tmp_path):
    more = 'call = ["a=[1] in *", "b"]\nat = ["state", "call"]\nframeworks = ["torch"]'
    entries = read(written(tmp_path, more))
    assert find(entries, "torch", "call", ["a=[1] in training"], "step 2: state weight")
    assert find(entries, "torch", "call", ["c", "b"], "step 1: call")
    assert not find(entries, "torch", "call", ["a=1 in training"], "step 1: call")
    assert not find(entries, "torch", "call", ["b"], "step 1: y")
    assert not find(entries, "torch", "question", ["b"], "step 1: call")
    assert not find(entries, "keras/torch", "call", ["b"], "step 1: call")


def test_a_class_of_drawn_cases_counts_from_the_step_that_belongs_to_it():
    steps = (Step((3, 2)), Step((0, 2)), Step((3, 2)))
    case = Case("torch", "BatchNorm1d", {}, "float32", (1,), steps)
    assert classes(case, "step 1: y") == []
    assert classes(case, "step 2: y") == ["an empty batch"]
    assert classes(case, "step 3: y") == ["an empty batch"]
    assert classes(case, "attribute eps") == ["an empty batch"]


def test_a_running_variance_of_minus_epsilon_is_what_single_values_and_a_momentum_leave():
    def found(momentum=-0.5, later=0.5, shape=(8,), training=True, **more):
        steps = Step(shape, training), Step(shape, False, (("epsilon", later),))
        arguments = {"axis": 0, "momentum": momentum, "epsilon": 1.0}
        case = Case("keras", "BatchNormalization", arguments, "uint8", (0,), steps, **more)
        return "a running variance of minus epsilon" in classes(case, "step 2: y")

    assert found()
    assert found(-0.25, 0.25)
    for others in ({"momentum": 0.5}, {"later": 0.25}, {"shape": (8, 2)}, {"training": False},
                   {"loaded": True}, {"momentum": None}):  # fmt: skip
        assert not found(**others)


def test_a_running_variance_of_minus_epsilon_comes_of_any_values_that_are_alike():
    def found(mask="", dtype="float32", size=4, channels=3, **more):
        shape = (size, channels)
        steps = Step(shape, mask=mask), Step(shape, False, (("epsilon", 0.5),))
        arguments = {"axis": -1, "momentum": -0.5, **more}
        case = Case("tf_keras", "BatchNormalization", arguments, dtype, (1,), steps)
        return "a running variance of minus epsilon" in classes(case, "step 2: y")

    assert found("none")  # a mask that leaves nothing
    assert found(dtype="bool", size=2, channels=32)  # in one of the channels
    assert found(virtual_batch_size=1)  # each ghost batch by itself
    half = {"class_name": "Constant", "config": {"value": 0.5}}
    assert found("none", momentum=-1.0, moving_variance_initializer=half)
    assert not found("none", moving_variance_initializer=half)
    assert not found("all")
    assert not found("none", trainable=False)
    assert not found("none", renorm=True)  # averages deviations instead
    assert not found()


def test_axes_alternate_as_often_as_lengths_and_ghost_batches_make_them():
    def found(shape, axes, training=True, **arguments):
        case = Case(
            "tf_keras", "BatchNormalization", arguments, "float32", axes, (Step(shape, training),)
        )
        return "six runs of axes" in classes(case, "step 1: call")

    assert found((2, 3, 2, 3, 2, 3), (1, 3, 5))
    assert found((2, 3, 2, 3, 2, 3), (0, 2, 4), training=False)
    for shape in ((2, 3, 2, 3, 1, 3), (2, 3, 2, 3, 2, 1), (1, 3, 2, 3, 2, 3), (0, 3, 2, 3, 2, 3)):
        assert not found(shape, (1, 3, 5))
    assert not found((2, 3, 2, 3, 2, 3), (1, 2, 3))
    assert found((8, 4, 4, 8, 2, 1), (2, 4), virtual_batch_size=4)
    assert found((8, 4, 4, 8, 2, 3), (2, 4), virtual_batch_size=1)
    for more in ({"training": False}, {"trainable": False}, {"virtual_batch_size": 8}):
        assert not found((8, 4, 4, 8, 2, 1), (2, 4), **{"virtual_batch_size": 4, **more})


def test_parameters_have_two_dtypes_where_an_array_keeps_its_own():
    def found(**arguments):
        case = Case("mindspore", "BatchNorm1d", arguments, "float32", (1,), (Step((3, 2)),))
        return classes(case, "step 1: y")

    half, array = np.dtype("float16"), np.ones(2, np.float32)
    assert found(dtype=half, beta_init=array) == ["parameters of two dtypes"]
    assert found(dtype=half) == found(dtype=half, beta_init="ones") == found(beta_init=array) == []


def test_an_older_version_has_entries_of_its_own_and_those_of_its_dialect(tmp_path):
    path = written(tmp_path, 'call = "a"')
    path.write_text(path.read_text(encoding="utf-8").replace('"torch"', '"tf_keras@2.6"'))
    (own,) = read(path)
    assert own.covers("tf_keras@2.6", "call", "a")
    assert not own.covers("tf_keras", "call", "a")
    general = type(own)(**{**vars(own), "dialect": "tf_keras"})
    assert general.covers("tf_keras@2.6", "call", "a")
