"""A recording as large as a ResNet-50's: memory, progress, kills at any byte, newer versions."""

import json
import signal
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from batchnorm import CheckpointError, checkpoints
from batchnorm.cli import main
from batchnorm.cli import record as record_command
from batchnorm.diagnose import record
from batchnorm.diagnose.files import VERSION, load, save

torch = pytest.importorskip("torch")
MODEL = """
import torch

def make():
    torch.manual_seed(0)
    return torch.nn.Sequential(*(torch.nn.BatchNorm2d(2048) for _ in range(26)))

def inverted():
    model = make()
    model[3].momentum = 0.9
    return model
"""
KILLED = """
import os, signal, sys
from batchnorm.diagnose import files

class Dying:
    def __init__(self, file, left):
        self.file, self.left = file, left

    def write(self, data):
        data = bytes(data)
        self.file.write(data[: self.left])
        self.left -= len(data)
        if self.left <= 0:
            self.file.flush()
            os.kill(os.getpid(), signal.SIGKILL)

source, target, left = sys.argv[1:]
whole, write = files.load(source), files.write
files.write = lambda file, *rest: write(Dying(file, int(left)), *rest)
files.save(whole, target, force=True)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("large")
    (path / "model.py").write_text(MODEL)
    x = np.random.default_rng(0).normal(size=(4, 2048, 2, 2)).astype(np.float32)
    np.savez(path / "batch.npz", x)
    names = {}
    exec(MODEL, names)
    save(record(names["make"](), x), path / "whole.bnrec")
    return path


def test_saving_takes_pieces_and_reading_once_the_file(folder, tmp_path):
    size = (folder / "whole.bnrec").stat().st_size
    assert 25e6 < size < 100e6
    peaks = []

    def watched(work, *given):
        tracemalloc.start()
        result = work(*given)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        return result

    found = watched(load, folder / "whole.bnrec")
    watched(save, found, tmp_path / "a.bnrec")
    assert peaks[0] < 1.25 * size
    assert peaks[1] < 0.25 * size
    assert (tmp_path / "a.bnrec").read_bytes() == (folder / "whole.bnrec").read_bytes()


def test_each_phase_is_announced_on_a_terminal(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(record_command, "is_terminal", lambda stream: stream is sys.stderr)
    words = ["record", f"{folder}/model.py:inverted", "--batch", str(folder / "batch.npz")]
    with pytest.raises(SystemExit) as ended:
        main([*words, "-o", str(tmp_path / "a.bnrec"), "--steps", "2"])
    assert not ended.value.code
    said = capsys.readouterr().err.splitlines()
    assert said == ["running: inference", "running: training", "running: step 2"]
    with pytest.raises(SystemExit) as ended:
        main(["diagnose", str(folder / "whole.bnrec"), str(tmp_path / "a.bnrec"), "--json"])
    assert ended.value.code == 1
    found = json.loads(capsys.readouterr().out)["findings"]
    assert [(f["cause"], f["layers"]) for f in found] == [("momentum-inverted", ["3"])]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill of this kind")
@pytest.mark.parametrize("part", [0.0, 1e-6, 0.5, 1.0])
@pytest.mark.parametrize("before", ["", "an older file"])
def test_a_recording_killed_while_it_is_written_leaves_no_half_file(folder, tmp_path, part, before):
    whole, target = folder / "whole.bnrec", tmp_path / "a.bnrec"
    if before:
        target.write_text(before)
    left = int(part * whole.stat().st_size)
    command = [sys.executable, "-c", KILLED, str(whole), str(target), str(left)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert target.exists() == bool(before)
    assert not before or target.read_text() == before
    save(load(whole), target, force=True)  # and the next one clears away what was left
    assert [file.name for file in tmp_path.iterdir()] == ["a.bnrec"]


def rewritten(source, target, **changed):
    with checkpoints.read(source) as found:
        arrays = {name: entry.load() for name, entry in found.items()}
        content = json.loads(found.metadata["safetensors"]["batchnorm_recording"])
    metadata = {"safetensors": {"batchnorm_recording": json.dumps(content | changed)}}
    checkpoints.write(target, arrays, format="safetensors", metadata=metadata)
    return target


def test_a_recording_of_a_newer_version_is_refused_with_what_to_do(folder, tmp_path, capsys):
    newer = rewritten(folder / "whole.bnrec", tmp_path / "a.bnrec", version=VERSION + 1)
    said = (
        f"a recording of version {VERSION + 1}, but this batchnorm reads version {VERSION}: "
        "update batchnorm here, or record the model again with this one"
    )
    with pytest.raises(CheckpointError, match=said):
        load(newer)
    for pair in ((folder / "whole.bnrec", newer), (newer, folder / "whole.bnrec")):
        with pytest.raises(SystemExit) as ended:
            main(["diagnose", *map(str, pair)])
        assert ended.value.code == 2
        err = " ".join(capsys.readouterr().err.split())
        assert said in err
        assert "a.bnrec" in err


@pytest.mark.parametrize("version", [0, "2", None, 1.5])
def test_a_version_that_is_none_is_refused(folder, tmp_path, version):
    odd = rewritten(folder / "whole.bnrec", tmp_path / "a.bnrec", version=version)
    with pytest.raises(CheckpointError, match=r"reads version 1: record the model again"):
        load(odd)


def test_a_recording_without_the_later_fields_is_read(folder, tmp_path):
    with checkpoints.read(folder / "whole.bnrec") as found:
        content = json.loads(found.metadata["safetensors"]["batchnorm_recording"])
    recording = content["recording"]
    assert recording.pop("chance") == []
    old = rewritten(folder / "whole.bnrec", tmp_path / "a.bnrec", recording=recording)
    assert load(old).chance == []
