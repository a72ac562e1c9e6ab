"""The table of benchmarks: rows read, contenders in processes of their own, what is written."""

import json
from dataclasses import replace

import numpy as np
import pytest
from benchmarks.__main__ import main
from benchmarks.results import Results
from benchmarks.table import Row, label, summary, table
from benchmarks.turns import MORE, Contender, measure
from click.testing import CliRunner

from batchnorm.cli.measure import TASKS, Case
from batchnorm.core import kernel
from benchmarks import rows

COMPILED = pytest.mark.skipif(
    len(kernel.IMPLEMENTATIONS) == 1, reason="BATCHNORM_KERNEL=reference is all that is asked for"
)


def test_a_shape_file_says_what_each_row_must_move(tmp_path):
    path = tmp_path / "some.txt"
    path.write_text(
        "# comment\ntypes float32 float16\nmoves training last x y  # small\n8 4 2 2\n"
        "types float32\nlayouts last\nmoves training last x x y\n9 4 2 2\n"
    )
    found = rows.read(str(path))
    assert len(found) == 2 * 3 * 2 + 3
    chosen = [case for case in found if case.task == "training" and case.layout == "last"]
    assert [(case.shape[0], case.dtype, case.moves) for case in chosen] == [
        (8, "float32", ("x", "y")),
        (8, "float16", ("x", "y")),
        (9, "float32", ("x", "x", "y")),
    ]


@pytest.mark.parametrize("name", ["resnet50", "small", "sixteen_bit"])
def test_the_shape_files_hold_every_task_and_end_each_move_with_the_result(name):
    found = rows.read(name)
    assert {case.task for case in found} == set(TASKS)
    assert len({(case.task, label(case)) for case in found}) == len(found)
    for case in found:
        assert case.moves[-1] == ("dx" if case.task == "backward" else "y")
        inputs = {"x", "dy"} if case.task == "backward" else {"x"}
        assert set(case.moves[:-1]) == inputs
        assert len({case.moves.count(tensor) for tensor in inputs}) == 1


TIMES = {
    "limit": np.array([1.0, 1.0, 1.0]),
    "v4": np.array([2.0, 2.0, 2.0]),
    "torch": np.array([6.0, 10.0, 8.0]),
}
ROWS = [Row(Case(task, (32, 64, 64, 64), "first", "float32", ("x", "y")), TIMES) for task in TASKS]


def test_the_table_has_ours_by_the_limit_and_others_by_ours():
    head, _, *lines = table(ROWS).splitlines()
    assert head.split("|")[5].strip() == "ours / limit"
    assert head.split("|")[6].strip() == "torch / ours"
    assert len(lines) == 3
    assert lines[0].split("|")[5:7] == [" 2.00 (2.00–2.00) ", " 4.00 (3.50–4.50) "]
    assert "inference, over 8 MB: worst 2.00 × limit" in summary(ROWS)
    assert "torch / ours: geometric mean 4.00, least 4.00" in summary(ROWS)
    assert "fastest framework / ours: least 4.00 (32×64×64×64 first); below 1 in 0" in summary(ROWS)


def test_results_are_read_as_they_were_written(tmp_path):
    names = ("processor", "processors", "threads", "rounds")
    results = Results({**dict.fromkeys(names, 2), "versions": ["torch 2.13.0"]}, "2026-11-23", 60.0)
    results.rows = {("some", row.case): replace(row, file="some", steal=3.5) for row in ROWS}
    assert results.data["rows"][0]["seconds"]["torch"] == [6.0, 10.0, 8.0]
    results.write(tmp_path)
    assert Results.read(tmp_path).data == results.data
    assert Results.read(tmp_path).text == (tmp_path / "table.md").read_text()


@pytest.fixture
def ours():
    one = Contender("ours", 1)
    yield one
    one.stop()


@COMPILED
def test_what_is_missing_crashes_or_is_wrong_is_a_note(ours):
    missing, crashing = Contender("no such framework", 1), Contender("torch", 1)
    crashing.ask("versions")
    crashing.process.kill()
    crashing.process.wait()
    case = Case("training", (4, 3, 5, 5), "first", "float32", ("x", "y"))
    levels = [name for name in kernel.IMPLEMENTATIONS if name != "v2"]
    times, notes = measure(case, [ours, missing, crashing], levels, 3, 0.5)
    assert list(times) == ["limit", *levels]
    assert all(len(taken) == 3 * MORE and (taken > 0).all() for taken in times.values())
    assert "KeyError" in notes["no such framework"]
    assert notes["torch"] == "ended with code -9"
    missing.stop()


@COMPILED
def test_an_answer_that_is_wrong_is_not_timed(ours, tmp_path):
    case = Case("inference", (4, 3, 5, 5), "first", "float32", ("x", "y"))
    for name in ("x", "dy"):
        np.save(tmp_path / f"{name}.npy", case.draw())
    np.save(tmp_path / "truth.npy", case.draw() + 7)
    level = next(iter(kernel.IMPLEMENTATIONS))
    asked = {"task": case.task, "shape": case.shape, "layout": case.layout, "moves": case.moves}
    done = ours.ask("row", case=asked, folder=str(tmp_path), levels=[level])
    assert done["names"] == ["limit"]
    assert "off by" in done["refused"][level]


@COMPILED
def test_the_command_writes_the_table_the_times_and_the_picture(tmp_path):
    shapes = tmp_path / "tiny.txt"
    shapes.write_text("4 3 5 5\n")
    arguments = ["--shapes", str(shapes), "--task", "inference", "--contender", "reference"]
    arguments += ["--rounds", "3", "--threads", "1", "--out", str(tmp_path / "results"), "--json"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout)
    assert len(printed["rows"]) == 2
    assert json.loads((tmp_path / "results" / "times.json").read_text()) == printed
    text = (tmp_path / "results" / "table.md").read_text()
    assert "reference / ours" in text
    assert "1 threads" in text
    assert "1/2 inference 4×3×5×5 first" in done.stderr


@COMPILED
def test_a_run_that_was_stopped_goes_on_where_it_was(tmp_path):
    shapes, out = tmp_path / "tiny.txt", tmp_path / "results"
    shapes.write_text("4 3 5 5\n")
    arguments = ["--shapes", str(shapes), "--contender", "reference", "--rounds", "3"]
    arguments += ["--threads", "1", "--out", str(out), "--json"]
    first = CliRunner().invoke(main, [*arguments, "--task", "inference"])
    assert first.exit_code == 0, first.output
    begun = json.loads(first.stdout)["rows"]
    done = CliRunner().invoke(main, [*arguments, "--resume"])
    assert done.exit_code == 0, done.output
    assert "4 of 6 rows to measure" in done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert [row["task"] for row in rows] == [task for task in TASKS for _ in range(2)]
    assert rows[:2] == begun
    assert "in 2 runs" in json.loads(done.stdout)["about"]
    other = CliRunner().invoke(main, [*arguments, "--resume", "--seconds", "9"])
    assert other.exit_code == 2
    assert "measured with another seconds" in other.output
    assert json.loads((out / "times.json").read_text())["rows"] == rows
    nothing = CliRunner().invoke(main, ["--resume", "--out", str(tmp_path)])
    assert nothing.exit_code == 2
    assert "times.json" in nothing.output
    (tmp_path / "times.json").write_text('{"rows": []}')
    other = CliRunner().invoke(main, ["--resume", "--out", str(tmp_path)])
    assert other.exit_code == 2
    assert "times.json" in other.output


@COMPILED
def test_rows_that_the_host_disturbed_are_measured_again_when_asked(tmp_path):
    shapes, out = tmp_path / "tiny.txt", tmp_path / "results"
    shapes.write_text("4 3 5 5\n")
    arguments = ["--shapes", str(shapes), "--contender", "reference", "--rounds", "3"]
    arguments += ["--threads", "1", "--task", "inference", "--out", str(out)]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    times = json.loads((out / "times.json").read_text())
    times["rows"][0]["steal"], times["rows"][1]["steal"] = 30.0, 0.0
    (out / "times.json").write_text(json.dumps(times))
    assert "0 of 2 rows" in CliRunner().invoke(main, [*arguments, "--resume"]).stderr
    done = CliRunner().invoke(main, [*arguments, "--resume", "--steal", "20"])
    assert "1 of 2 rows to measure" in done.stderr
    rows = json.loads((out / "times.json").read_text())["rows"]
    assert rows[0]["seconds"] != times["rows"][0]["seconds"]
    assert rows[1] == times["rows"][1]


def test_an_unknown_contender_is_a_usage_error():
    done = CliRunner().invoke(main, ["--contender", "caffe"])
    assert done.exit_code == 2
    assert "caffe" in done.output
