"""The commands: exit codes, files, JSON."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

import batchnorm as bn
from batchnorm.cli import main


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    output = capsys.readouterr()
    return ended.value.code or 0, output.out, output.err


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "a.pth"
    state = {f"n.{k}": np.full(3, i + 1.5, np.float32)
             for i, k in enumerate(("weight", "bias", "running_mean", "running_var"))}  # fmt: skip
    bn.checkpoints.write(path, {**state, "n.num_batches_tracked": np.int64(4)})
    return path


def test_convert_writes_and_ends_with_0(capsys, checkpoint, tmp_path):
    target = tmp_path / "b.ckpt"
    code, out, _ = run(capsys, "convert", checkpoint, target)
    assert code == 0
    assert target.exists()
    assert re.search(r"^n +n +3 +renamed; kept 4 batches$", out, re.MULTILINE)
    assert "4 arrays in 1 layers, 1 kept" in out


def test_an_existing_target_needs_force(capsys, checkpoint, tmp_path):
    target = tmp_path / "b.ckpt"
    target.write_bytes(b"precious")
    code, _, err = run(capsys, "convert", checkpoint, target)
    assert code == 2
    assert "exists" in err
    assert target.read_bytes() == b"precious"
    assert run(capsys, "convert", checkpoint, target, "--force")[0] == 0


def test_dry_run_writes_nothing(capsys, checkpoint, tmp_path):
    target = tmp_path / "b.ckpt"
    code, out, _ = run(capsys, "convert", checkpoint, target, "--dry-run", "--json")
    report = json.loads(out)
    assert code == report["exit_code"] == 0
    assert not target.exists()
    assert report["written"] is False
    assert [row["target"] for row in report["arrays"]][:2] == ["n.moving_mean", "n.moving_variance"]


def test_findings_end_with_1_and_write_nothing_unless_allowed(capsys, checkpoint, tmp_path):
    like, target = tmp_path / "like.ckpt", tmp_path / "b.ckpt"
    bn.checkpoints.write(like, {f"m.{k}": np.ones(5, np.float32) for k in
                                ("moving_mean", "moving_variance", "gamma", "beta")})  # fmt: skip
    arguments = ("convert", checkpoint, target, "--like", like)
    code, _, err = run(capsys, *arguments)
    assert code == 1
    assert not target.exists()
    assert "--allow-missing" in err
    assert run(capsys, *arguments, "--allow-missing")[0] == 0
    assert target.exists()


def test_dump_map_and_map(capsys, checkpoint, tmp_path):
    first, second, pairs = tmp_path / "b.ckpt", tmp_path / "c.ckpt", tmp_path / "map.toml"
    assert run(capsys, "convert", checkpoint, first, "--dump-map", pairs)[0] == 0
    assert run(capsys, "convert", checkpoint, second, "--map", pairs)[0] == 0
    assert first.read_bytes() == second.read_bytes()
    pairs.write_text(pairs.read_text().replace('"n" = "n"', '"n" = "renamed"'))
    assert run(capsys, "convert", checkpoint, second, "--map", pairs, "--force")[0] == 0
    with bn.checkpoints.read(second) as found:
        assert "renamed.gamma" in found


@pytest.mark.parametrize("target", ["b.unknown", "nowhere/b.ckpt"])
def test_bad_targets_end_with_2(capsys, checkpoint, tmp_path, target):
    code, _, err = run(capsys, "convert", checkpoint, tmp_path / target)
    assert code == 2
    assert err.startswith("batchnorm: ")


def test_a_file_that_is_none_ends_with_2(capsys, tmp_path):
    path = tmp_path / "a.pth"
    path.write_bytes(b"not a checkpoint at all")
    for arguments in (("convert", path, tmp_path / "b.ckpt"), ("inspect", path),
                      ("compare", path, path)):  # fmt: skip
        code, _, err = run(capsys, *arguments)
        assert code == 2
        assert "a.pth" in err


def test_inspect_takes_several_files_and_its_code_is_the_highest(capsys, checkpoint, tmp_path):
    bad = tmp_path / "bad.pth"
    bn.checkpoints.write(bad, {"m.running_mean": np.zeros(2), "m.running_var": -np.ones(2)})
    assert run(capsys, "inspect", checkpoint)[0] == 0
    code, out, _ = run(capsys, "inspect", checkpoint, bad)
    assert code == 1
    assert (
        out.index("a.pth") < out.index("4 batches") < out.index("bad.pth") < out.index("negative")
    )
    code, out, _ = run(capsys, "inspect", bad, checkpoint, "--json")
    found = json.loads(out)
    assert (code, found["exit_code"], found["command"]) == (1, 1, "inspect")
    assert [each["source"] for each in found["files"]] == [str(bad), str(checkpoint)]
    assert "4 batches" not in run(capsys, "inspect", bad, "--graph")[1]
    assert run(capsys, "inspect")[0] == 2


def test_inspect_prints_the_graph(capsys, checkpoint):
    code, out, _ = run(capsys, "inspect", checkpoint, "--graph")
    assert (code, out) == (0, "Graph from names alone: 1 layers, no edges\n  n  batch_norm 3\n")
    code, out, _ = run(capsys, "inspect", checkpoint, "--graph", "--json")
    told = json.loads(out)
    assert (code, told["exit_code"], told["origin"], told["steps"]) == (0, 0, "names", [])
    assert told["layers"] == [{"path": "n", "kind": "batch_norm", "form": "", "width": 3}]


def test_inspect_and_compare(capsys, checkpoint, tmp_path):
    target = tmp_path / "b.ckpt"
    run(capsys, "convert", checkpoint, target)
    code, out, _ = run(capsys, "inspect", target, "--json")
    assert code == 0
    assert json.loads(out)["layers"][0]["batches"] == 4
    code, out, _ = run(capsys, "compare", checkpoint, target)
    assert code == 0
    assert "4 arrays equal, 0 different" in out
    state = {f"n.{k}": np.ones(3) for k in ("running_mean", "running_var")}
    other = tmp_path / "other.npz"
    bn.checkpoints.write(other, state)
    code, out, _ = run(capsys, "compare", checkpoint, other, "--json")
    assert code == 1
    assert json.loads(out)["differences"][0]["layer"] == "n"


MEASURE = """
import sys
sys.argv = ["batchnorm", "convert", *sys.argv[1:], "--json"]
from batchnorm.cli import main
try:
    main()
finally:
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(peak.split()[1], file=sys.stderr)  # not ru_maxrss: a child begins with its parent's
"""


@pytest.mark.parametrize("suffix", [".ckpt", ".weights.h5"])
def test_a_file_of_a_gibibyte_takes_less_than_300_mib(tmp_path, suffix):
    """In CI; elsewhere an eighth of it, which would show an array that is held twice."""
    whole = bool(os.environ.get("CI"))
    tensors, rows = (8, 8192) if whole else (8, 1024)
    source = tmp_path / "a.safetensors"

    def zeros(max_bytes):
        step = max_bytes // 4
        for start in range(0, rows * 4096, step):
            yield np.zeros(min(step, rows * 4096 - start), np.float32)

    entries = [
        bn.checkpoints.Entry.streamed(f"l{i}.weight", (rows, 4096), np.float32, zeros)
        for i in range(tensors)
    ]
    entries += [bn.checkpoints.Entry.of(f"l{i}.bias", np.zeros(rows, np.float32))
                for i in range(tensors)]  # fmt: skip
    bn.checkpoints.write(source, entries, framework="torch")
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(source), str(tmp_path / f"b{suffix}")],
        capture_output=True, text=True, check=False, timeout=500,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    assert json.loads(done.stdout)["written"]
    peak = int(done.stderr.split()[-1])
    assert peak < 300 * 1024, f"{peak} KiB"


def test_a_table_in_a_pipe_is_not_folded(tmp_path):
    path, target = tmp_path / "a.pth", tmp_path / "b.ckpt"
    layer = "backbone." + ".".join(["a_long_name"] * 12)
    values = {"weight": 1.5, "bias": 2.5, "running_mean": 3.5, "running_var": 4.5}
    state = {f"{layer}.{k}": np.full(3, v) for k, v in values.items()}
    bn.checkpoints.write(path, state)
    command = [sys.executable, "-c", "from batchnorm.cli import main; main()"]
    for arguments in (["convert", path, target], ["inspect", path]):
        done = subprocess.run(
            [*command, *map(str, arguments)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert [line for line in done.stdout.splitlines() if line.startswith(layer)]


def test_a_table_fits_80_columns_and_names_stay_whole(capsys, tmp_path):
    from rich.console import Console

    state = {f"layer1.0.bn1.{k}": np.ones(64) * 2 for k in ("weight", "bias", "running_mean",
                                                          "running_var")}  # fmt: skip
    state["layer1.0.conv1.weight"] = np.ones((64, 64, 3, 3))
    bn.convert(state, to="keras").report.print(Console(width=80))
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines) <= 80
    assert any(re.match(r"layer1.0.conv1 +layer1.0.conv1 +64×64×3×3", line) for line in lines)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--to", "keras"), "--to is keras and"),
        (("--like", "like.h5"), "like.h5 is tf_keras and"),
        (("--map", "typo.toml"), "near 'm' it has 'n'"),
        (("--group", "other"), "neither a dictionary 'other' nor names"),
        (("--settings", "epsilon=1"), "torch's words"),
    ],
)
def test_what_can_not_be_meant_ends_with_2(capsys, checkpoint, tmp_path, options, text):
    kernel = {"c/kernel": np.ones((3, 3), np.float32)}
    bn.checkpoints.write(tmp_path / "like.h5", kernel, framework="tf_keras")
    (tmp_path / "typo.toml").write_text('[layers]\n"m" = "x"\n')
    given = [tmp_path / o if "." in o else o for o in options]
    code, _, err = run(capsys, "convert", checkpoint, tmp_path / "b.ckpt", *given)
    assert code == 2
    assert text in err
    assert not (tmp_path / "b.ckpt").exists()


@pytest.mark.parametrize("command", ["convert", "inspect", "compare"])
def test_json_is_one_object_with_a_version(capsys, checkpoint, tmp_path, command):
    arguments = {"convert": (checkpoint, tmp_path / "b.ckpt"), "inspect": (checkpoint,),
                 "compare": (checkpoint, checkpoint)}[command]  # fmt: skip
    code, out, _ = run(capsys, command, *arguments, "--json")
    found = json.loads(out)
    assert found["version"] == 1
    assert found["command"] == command
    assert found["exit_code"] == code == 0


def test_progress_of_a_large_file_goes_to_the_terminal_s_error_stream(tmp_path):
    """Told by a pseudo-terminal: nothing of it is in the output, and the last line is whole."""
    import pty

    path = tmp_path / "a.pth"
    state = {f"l{i}.weight": np.ones((1024, 2048), np.float32) for i in range(10)}
    bn.checkpoints.write(path, {**state, "n.running_mean": np.ones(2), "n.running_var": np.ones(2)})
    ours, theirs = pty.openpty()
    done = subprocess.Popen(
        [sys.executable, "-c", "from batchnorm.cli import main; main()", "convert", str(path),
         str(tmp_path / "b.ckpt"), "--quiet"],
        stdout=subprocess.PIPE, stderr=theirs, env={**os.environ, "TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 1 << 16):
            shown += piece
    except OSError:  # how a pseudo-terminal says that nobody writes any more
        pass
    out, _ = done.communicate(timeout=60)
    os.close(ours)
    assert b"converting" in shown
    assert b"MB" in shown
    assert b"converting" not in out
    assert b"wrote" in out


def test_progress_is_told_in_bytes(checkpoint, tmp_path):
    told = []
    bn.convert(checkpoint, tmp_path / "b.ckpt", progress=lambda *a: told.append(a))
    assert told[-1] == (48, 48)
    assert told == sorted(told)
