"""Recordings as files, and the two commands: nothing of a framework is needed to compare them."""

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import faults
import numpy as np
import pytest
from built_nets import torch_net, vgg

from batchnorm import CheckpointError, checkpoints
from batchnorm.cli import main
from batchnorm.diagnose import compare_recordings, record
from batchnorm.diagnose.files import load, save

MODELS = """
import sys
sys.path.insert(0, {folder!r})
import faults
from built_nets import torch_net, vgg

def source():
    return torch_net(vgg())

def port():
    net = vgg()
    faults.momentum_inverted(net, "b.bn")
    faults.padding_differs(net, "c.conv") if {strided} else faults.epsilon_differs(net, "c.bn")
    return torch_net(net)

def lossy():
    return torch_net(vgg()), lambda y: (y * y).mean()
"""


@pytest.fixture(scope="module")
def recorded():
    net = vgg()
    port = net.port()
    faults.momentum_inverted(port, "b.bn")
    return record(torch_net(net), net.batch()), record(torch_net(port), net.batch())


@pytest.fixture
def folder(tmp_path):
    own = str(Path(__file__).parent)
    (tmp_path / "models.py").write_text(MODELS.format(folder=own, strided=False))
    np.savez(tmp_path / "batch.npz", vgg().batch())
    return tmp_path


def run(*arguments):
    with pytest.raises(SystemExit) as raised:
        main([str(a) for a in arguments])
    return raised.value.code or 0


def test_a_file_says_what_the_run_said(recorded, tmp_path):
    paths = []
    for index, recording in enumerate(recorded):
        paths.append(tmp_path / f"{index}.bnrec")
        save(recording, paths[-1])
    report = compare_recordings(*map(load, paths))
    direct = compare_recordings(*recorded)
    assert report.to_json() == direct.to_json()
    assert report.causes == ["momentum-inverted"]


def test_the_commands_record_and_compare(folder, capsys):
    for name in ("source", "port"):
        options = ["--batch", folder / "batch.npz", "-o", folder / f"{name}.bnrec", "--steps", 2]
        assert run("record", f"{folder}/models.py:{name}", *options) == 0
    said = capsys.readouterr().out
    assert "batch norms" in said
    assert "left out: of what layers take and give all but 16 values of a channel" in said
    pair = [folder / "source.bnrec", folder / "port.bnrec"]
    assert run("diagnose", *pair, "--json", "--html", folder / "a.html") == 1
    found = json.loads(capsys.readouterr().out)
    causes = {f["cause"]: f["layers"] for f in found["findings"]}
    assert causes == {"momentum-inverted": ["b.bn"], "epsilon-differs": ["c.bn"]}
    page = (folder / "a.html").read_text()
    assert "momentum-inverted" in page
    assert "<svg" in page
    assert page.startswith('<!doctype html><html lang="en"><meta charset="utf-8">')
    assert run("diagnose", pair[0], pair[0]) == 0
    capsys.readouterr()
    assert run("diagnose", *pair, "--lang", "zh") == 1
    assert "momentum 含义相反" in capsys.readouterr().out
    (folder / "map.toml").write_text('version = 1\n[layers]\n"nobody" = "b.bn"\n')
    assert run("diagnose", *pair, "--map", folder / "map.toml") == 2
    assert "nobody" in capsys.readouterr().err
    assert run("diagnose", folder / "batch.npz", pair[1]) == 2


def test_what_was_recorded_as_json_here_and_in_another_python(folder, capfd):
    words = ["record", f"{folder}/models.py:source", "--batch", folder / "batch.npz", "--json"]
    for more in ([], ["--python", sys.executable, "--force"]):
        assert run(*words, "-o", folder / "a.bnrec", *more) == 0
        found = json.loads(capfd.readouterr().out)
        assert (found["command"], found["exit_code"]) == ("record", 0)
        assert (found["framework"], found["batch_norms"], found["rank"]) == ("torch", 4, [0, 1])
        assert found["phases"] == ["inference", "training"]
        assert found["bytes"] == (folder / "a.bnrec").stat().st_size
        assert "16 values of a channel" in found["dropped"][0]


def test_a_model_that_fails_on_the_batch_is_bad_input_and_no_difference(folder, capsys):
    """Exit code 1, as of a traceback, would say that the models differ."""
    model, last = f"{folder}/models.py:source", np.moveaxis(vgg().batch(), 1, -1)
    np.savez(folder / "last.npz", last)
    np.savez(folder / "two.npz", x=last, y=last)
    for batch in ("last.npz", "two.npz"):
        given = ["--batch", folder / batch]
        assert run("diagnose", model, model, *given) == 2
        assert run("record", model, *given, "-o", folder / "a.bnrec") == 2
        said = capsys.readouterr().err
        assert f"can't be run on this batch of {last.shape}" in said
        assert "Error: " in said
        assert "--layout" in said
    assert run("diagnose", model, model, "--batch", folder / "last.npz", "--layout", "NHWC") == 0


def test_models_are_diagnosed_in_one_command(folder, capsys):
    models = [f"{folder}/models.py:{name}" for name in ("source", "port")]
    assert run("diagnose", *models, "--batch", folder / "batch.npz", "--json") == 1
    found = json.loads(capsys.readouterr().out)
    causes = {f["cause"]: f["layers"] for f in found["findings"]}
    assert causes == {"momentum-inverted": ["b.bn"], "epsilon-differs": ["c.bn"]}
    kept = ["--batch", folder / "batch.npz", "-o", folder / "source.bnrec"]
    assert run("record", models[0], *kept) == 0
    assert run("diagnose", folder / "source.bnrec", models[0], *kept[:2]) == 0
    capsys.readouterr()
    for own in ("models.py", "batch.npz"):
        before = (folder / own).read_bytes()
        assert run("diagnose", *models, *kept[:2], "--html", folder / own) == 2
        assert (folder / own).read_bytes() == before
    assert run("diagnose", *models) == 2
    assert "say what it is called with, --batch FILE.npz" in capsys.readouterr().err
    assert run("diagnose", folder / "models.py:nobody", models[1], *kept[:2]) == 2
    assert "has no function 'nobody'" in capsys.readouterr().err


def test_one_of_several_processes_says_which_it_is(folder, monkeypatch, capsys):
    (folder / "batch.npz").rename(folder / "batch1.npz")
    words = ["record", f"{folder}/models.py:source", "--batch", folder / "batch{rank}.npz"]
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "1")
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    assert run(*words, "-o", folder / "{rank}.bnrec") == 0
    assert load(folder / "1.bnrec").rank == (1, 2)
    assert run(*words, "-o", folder / "{rank}.bnrec", "--rank", "0/4") == 2  # no batch0.npz
    assert "batch0.npz" in capsys.readouterr().err
    assert run(*words, "-o", folder / "c.bnrec", "--rank", "2/2") == 2
    assert "R/N" in capsys.readouterr().err


def test_comparing_loads_no_framework(recorded, tmp_path):
    for index, recording in enumerate(recorded):
        save(recording, tmp_path / f"{index}.bnrec")
    code = (
        "import sys\nfrom batchnorm.cli import main\n"
        f"try: main(['diagnose', {str(tmp_path / '0.bnrec')!r}, {str(tmp_path / '1.bnrec')!r}])\n"
        "except SystemExit as end: assert end.code == 1, end.code\n"
        "bad = {'torch', 'tensorflow', 'keras', 'tf_keras', 'mindspore'} & set(sys.modules)\n"
        "assert not bad, bad\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_another_python_records_and_a_loss_is_differentiated(folder, capfd):
    code = run(
        "record", f"{folder}/models.py:lossy", "--batch", folder / "batch.npz",
        "-o", folder / "a.bnrec", "--python", sys.executable,
    )  # fmt: skip
    assert code == 0, capfd.readouterr().err
    node = load(folder / "a.bnrec").node("a.bn")
    assert set(node.calls["training"][0].gradients) == {"gamma", "beta"}
    capfd.readouterr()
    code = run(
        "record", "x.py:f", "--batch", folder / "batch.npz", "-o", folder / "b.bnrec",
        "--python", folder / "nowhere",
    )  # fmt: skip
    assert code == 2
    assert "can't be run" in capfd.readouterr().err


def test_hostile_recordings_are_one_error(recorded, tmp_path):
    path = tmp_path / "a.bnrec"
    save(recorded[0], path)
    whole = path.read_bytes()
    bad = tmp_path / "bad.bnrec"
    draw = np.random.default_rng(0)
    for _ in range(25):
        data = bytearray(whole)
        kind = draw.integers(3)
        if kind == 0:
            data = data[: draw.integers(len(data))]
        else:
            for place in draw.integers(0, 8 + 4000 if kind == 1 else len(data), 6):
                data[place] = draw.integers(256)
        bad.write_bytes(data)
        try:
            found = load(bad)
        except CheckpointError:
            continue
        compare_recordings(found, recorded[1])  # values that are others, in a file that is whole
    plain = tmp_path / "plain.safetensors"
    checkpoints.write(plain, {"a": np.ones(2, np.float32)})
    with pytest.raises(CheckpointError, match="no recording"):
        load(plain)
    with pytest.raises(CheckpointError, match="exists"):
        save(recorded[0], path)


HOSTILE = {
    "array": [{"array": "r/outputs/0"}, {"array": "r/nodes/1/bias"}],
    "int": [0, -1, 3, 1 << 39, 1 << 70], "float": [0.0, float("nan"), 10**400, -1e308],
    "str": ["", "\u202e\x1b[2J<script>", "training", "batch_norm", "dense", "x" * 3000],
    "bool": [True, False], "NoneType": [None, True, "keras"],
}  # fmt: skip


def leaves(value, found):
    """Where plain values and arrays stand: holder, key, type."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        if isinstance(inner, dict) and set(inner) == {"array"}:
            found.append((value, key, "array"))
        elif isinstance(inner, dict | list):
            leaves(inner, found)
        else:
            found.append((value, key, type(inner).__name__))
    return found


def test_values_of_the_right_type_that_contradict_one_another_are_one_error(
    recorded, tmp_path, capfd
):
    path, made, page = (tmp_path / name for name in ("a.bnrec", "b.bnrec", "c.html"))
    save(recorded[0], path)
    with checkpoints.read(path) as found:
        arrays = {name: entry.load() for name, entry in found.items()}
        text = found.metadata["safetensors"]["batchnorm_recording"]
    rng, codes = random.Random(7), Counter()
    for _ in range(60):
        content = json.loads(text)
        places = leaves(content["recording"], [])
        for holder, key, kind in rng.choices(places, k=rng.choice((1, 2, 4))):
            holder[key] = rng.choice(HOSTILE[kind])
        metadata = {"safetensors": {"batchnorm_recording": json.dumps(content)}}
        checkpoints.write(made, arrays, format="safetensors", metadata=metadata, force=True)
        pair = rng.sample((path, made), 2)
        codes[run("diagnose", *pair, "--html", page, "--lang", rng.choice(("en", "zh")))] += 1
        out, err = capfd.readouterr()
        html = page.read_text() if page.exists() else ""
        assert "Traceback" not in err
        for said in (out, err, html):
            assert not set("\x1b\u202e") & set(said)
        assert "<script>" not in html
    assert set(codes) == {0, 1, 2}


def test_a_killed_recording_leaves_no_half_file(tmp_path):
    pytest.importorskip("torch")
    path = tmp_path / "a.bnrec"
    script = Path(__file__).with_name("recorded_and_killed.py")
    command = [sys.executable, str(script), str(path), "40"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    ends = [line.split()[1:] for line in done.stdout.splitlines()]
    assert sum(end == ["killed", "False"] for end in ends) >= 5, done.stdout
    assert len(ends) == 40
    for file in tmp_path.glob("a.bnrec.*"):
        load(file)  # whole


def test_a_file_in_the_making_is_never_seen_half(folder):
    path = folder / "a.bnrec"
    code = (
        "import sys, os\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from built_nets import vgg, torch_net\n"
        "from batchnorm.diagnose import record\nfrom batchnorm.diagnose.files import save\n"
        "from batchnorm import checkpoints\n"
        "net = vgg(); found = record(torch_net(net), net.batch())\n"
        "print('ready', flush=True)\n"
        "while True: save(found, sys.argv[1], force=True)\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        for _ in range(40):  # whenever it is looked at, the file is whole or not there yet
            time.sleep(0.005)
            if path.exists():
                load(path)
        process.send_signal(signal.SIGKILL)
    if path.exists():
        load(path)
