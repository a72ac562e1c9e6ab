"""Two processes that share a batch: whose statistics a layer takes, by the recordings of both."""

import subprocess
import sys
from pathlib import Path

import pytest

from batchnorm.cli import main
from batchnorm.diagnose import compare_recordings
from batchnorm.diagnose.files import load
from batchnorm.errors import InvalidValue

pytest.importorskip("torch")
SCRIPT = Path(__file__).with_name("one_of_two.py")
NAMES = ("shared", "alone", "inverted", "alone and epsilon")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("ranks")
    for name in NAMES:
        (path / name).mkdir()
    processes = [
        subprocess.Popen([sys.executable, str(SCRIPT), str(rank), str(path / "meeting"), str(path)])
        for rank in range(2)
    ]
    try:
        assert [process.wait(120) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    return path


def both(folder, name):
    return [load(folder / name / f"{rank}.bnrec") for rank in range(2)]


def found(source, port):
    report = compare_recordings(source, port)
    return {f.cause: f.layers for f in report.findings}, report


def test_the_same_statistics_are_no_difference(folder):
    for name in NAMES:
        causes, report = found(both(folder, name), both(folder, name))
        assert not causes, f"{report}"
        assert not [u for u in report.undecided if "processes" in u.why]


@pytest.mark.parametrize(("source", "port"), [("shared", "alone"), ("alone", "shared")])
def test_statistics_of_all_and_of_one_are_told_apart(folder, source, port):
    causes, report = found(both(folder, source), both(folder, port))
    assert causes == {"synchronization-differs": ["bn1"]}, f"{report}"
    evidence = report.findings[0].evidence
    assert ("all 2" in evidence["source's"]) == (source == "shared")
    assert ("alone" in evidence["port's statistics"]) == (source == "shared")


def test_other_causes_of_shared_statistics_are_named(folder):
    causes, report = found(both(folder, "shared"), both(folder, "inverted"))
    assert causes == {"momentum-inverted": ["bn1"]}, f"{report}"
    causes, report = found(both(folder, "shared"), both(folder, "alone and epsilon"))
    assert causes == {"synchronization-differs": ["bn1"], "epsilon-differs": ["bn1"]}, f"{report}"


@pytest.mark.parametrize(("source", "port"), [("shared", "alone"), ("shared", "shared")])
def test_one_process_of_two_is_undecided(folder, source, port):
    causes, report = found(both(folder, source)[:1], both(folder, port)[:1])
    assert not causes, f"{report}"
    [undecided] = [u for u in report.undecided if u.what == "synchronization-differs"]
    assert undecided.layers == ("bn1",)
    assert "--rank" in undecided.why


def test_the_command_takes_folders_of_all_processes(folder, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["diagnose", str(folder / "shared"), str(folder / "alone")])
    assert ended.value.code == 1
    assert "synchronization-differs" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["diagnose", str(folder), str(folder / "alone")])
    assert ended.value.code == 2
    assert "no .bnrec" in capsys.readouterr().err


def test_recordings_of_two_runs_are_refused(folder):
    with pytest.raises(InvalidValue, match="each process of one run"):
        compare_recordings(both(folder, "shared") * 2, both(folder, "alone"))
