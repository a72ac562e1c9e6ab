"""Rows, turns, ratios and the limit; the command `batchnorm bench`."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from batchnorm.cli import measure
from batchnorm.cli.bench import command
from batchnorm.cli.measure import MOVES, TASKS, Case
from batchnorm.core import kernel
from batchnorm.errors import InvalidValue

COMPILED = pytest.mark.skipif(
    len(kernel.IMPLEMENTATIONS) == 1, reason="BATCHNORM_KERNEL=reference is all that is asked for"
)
SHAPE = (4, 6, 5, 7)


@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("task", TASKS)
def test_every_implementation_computes_the_row(task, layout):
    case = Case(task, SHAPE, layout)
    x, dy = case.draw(0), case.draw(1)
    assert x.shape == ((4, 6, 5, 7) if layout == "first" else (4, 5, 7, 6))
    results = {}
    for name in kernel.IMPLEMENTATIONS:
        out = np.full_like(x, 99)
        measure.ours(case, x, dy, out, name)()
        results[name] = out
    assert np.abs(results["reference"]).max() < 50
    for found in results.values():
        np.testing.assert_allclose(found, results["reference"], rtol=0, atol=2e-6)


@COMPILED
@pytest.mark.parametrize(("task", "layout"), MOVES)
def test_the_limit_reads_all_inputs_and_writes_the_whole_result(task, layout):
    case = Case(task, (64, 64, 16), layout)
    x, dy, out = case.draw(0), case.draw(1), np.zeros(case.memory_shape, np.float32)
    measure.limit(case, x, dy, out)()
    expected = x + dy if task == "backward" else x
    np.testing.assert_allclose(out, expected, rtol=1e-6)


def test_all_take_turns_in_changing_order():
    order = []
    calls = {name: lambda name=name: order.append(name) for name in "ab"}
    times = measure.take_turns(calls, 4)
    assert order[4:] == ["b", "a", "a", "b", "b", "a", "a", "b"]
    assert {name: len(taken) for name, taken in times.items()} == {"a": 4, "b": 4}


def test_a_ratio_is_that_of_the_rounds_in_which_both_took_part():
    times = {"slow": np.array([2.0, 8.0, 6.0]), "fast": np.array([1.0, 2.0, 2.0, 50.0, 60.0])}
    assert measure.ratio(times, "slow", "fast") == (3.0, 2.5, 3.5)


@COMPILED
def test_the_command_prints_a_line_for_each_task_and_layout():
    done = CliRunner().invoke(command, ["--shape", "4,3,5", "--rounds", "1"])
    assert done.exit_code == 0, done.output
    lines = [line for line in done.stdout.splitlines() if "limit" in line]
    assert len(lines) == 6
    assert all(name in line for line in lines for name in kernel.IMPLEMENTATIONS)


@COMPILED
def test_the_command_selects_and_speaks_json():
    arguments = ["--shape", "4,3,5", "--rounds", "2", "--task", "backward", "--layout", "last"]
    done = CliRunner().invoke(command, [*arguments, "--level", "reference", "--json"])
    assert done.exit_code == 0, done.output
    (row,) = json.loads(done.stdout)["rows"]
    assert (row["task"], row["layout"]) == ("backward", "last")
    assert row["limit_seconds"] > 0
    assert row["by_limit"]["reference"]["median"] > 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--shape", "a,b"], "must be lengths"),
        (["--shape", "3"], "needs at least N,C"),
        (["--shape", "3,0"], "each above 0"),
        (["--level", "v9"], "--level takes .*reference"),
    ],
)
def test_what_the_command_cannot_measure_is_said(arguments, text):
    with pytest.raises(InvalidValue, match=text):
        CliRunner().invoke(command, arguments, catch_exceptions=False)
