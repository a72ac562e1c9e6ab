"""Four times as large a file is at most five times the work, counted in lines of Python."""

import sys
from itertools import pairwise

import pytest
from hostile import onnx

from batchnorm import CheckpointError, checkpoints
from batchnorm.checkpoints import keras_steps
from batchnorm.checkpoints.keras_steps import config_steps
from batchnorm.toml import read_toml


def lines(task):
    """How many lines run below a task."""
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        task()
    finally:
        sys.settrace(before)
    return count


def layer(name, *inputs, **config):
    calls = [[[one, number, 0, {}]] for one, number in inputs]
    return {"class_name": "ReLU", "config": {"name": name, **config}, "inbound_nodes": calls}


def functional(name, layers, end, number=0):
    ends = {"input_layers": [["in", 0, 0]], "output_layers": [[end, number, 0]]}
    config = {"name": name, "layers": layers, **ends}
    return {"class_name": "Functional", "name": name, "config": config}


def backwards(length):
    """A chain whose last layer is listed first."""
    names = ["in", *(f"l{i}" for i in range(length))]
    chain = [layer(b, (a, 0)) for a, b in pairwise(names)]
    return functional("m", [*chain[::-1], layer("in")], names[-1])


def doubling(depth):
    """Models that hold nothing but another one, which they call twice."""
    made = functional("m0", [layer("in")], "in")
    for number in range(1, depth):
        name = made["name"]
        made["inbound_nodes"] = [[["in", 0, 0, {}]], [[name, 0, 0, {}]]]
        made = functional(f"m{number}", [layer("in"), made], name, 1)
    return made


def test_layers_may_be_listed_in_any_order():
    few, many = (lines(lambda n=n: config_steps(None, backwards(n))) for n in (50, 200))
    assert many < 5 * few
    steps = config_steps(None, backwards(3))
    assert [step.layer for step in steps] == ["in", "l0", "l1", "l2", ""]
    assert [step.inputs for step in steps] == [(), (0,), (1,), (2,), (3,)]


def test_calls_that_double_with_each_depth_come_to_an_end(monkeypatch):
    assert [step.what for step in config_steps(None, doubling(6))] == ["input", "output"]
    monkeypatch.setattr(keras_steps, "MOST_WORK", 1000)
    assert config_steps(None, doubling(24)) == ()
    assert lines(lambda: config_steps(None, doubling(24))) < 100_000


def test_many_nodes_of_one_name_are_numbered(tmp_path):
    def written(count):
        path = tmp_path / f"{count}.onnx"
        arrays = [(f"w{i}", (2, 2)) for i in range(count)]
        nodes = [("Conv", ["x", f"w{i % count}"], "same") for i in range(count + 3)]
        path.write_bytes(onnx(arrays, nodes))
        return path

    few, many = (lines(lambda n=n: checkpoints.read(written(n)).close()) for n in (60, 240))
    assert many < 5 * few
    with checkpoints.read(written(3)) as found:
        assert list(found) == ["same.weight", "same_2.weight", "same_3.weight"]


@pytest.mark.parametrize("part", ["a", '"a\\""', "'a'", '"a" '])
@pytest.mark.parametrize("form", ["{} = 1\n", "[{}]\n", "x = {{ {} = 1 }}\n"])
def test_a_key_of_thousands_of_parts_is_refused(part, form, tmp_path):
    path = tmp_path / "m.toml"
    path.write_text(form.format(".".join([part] * 101)))
    with pytest.raises(CheckpointError, match="more than 100 parts"):
        read_toml(path, "a map")
    path.write_text(form.format(".".join([part] * 100)) + '"a.b.c" = "' + "a." * 500 + '"\n')
    assert read_toml(path, "a map")
