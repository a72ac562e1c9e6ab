"""What commands say of bad usage: what was given, what was expected, what to do."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
CHECKPOINT = str(EXAMPLES / "resnet_tiny.pth")
RECORDING = str(EXAMPLES / "port" / "source.bnrec")
COMMAND = "from batchnorm.cli import main; main()"


@pytest.fixture
def run(tmp_path):
    def run(*arguments, **settings):
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, *arguments],
            cwd=tmp_path, capture_output=True, text=True, timeout=120, **settings,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["explain", "torch"], "Missing argument 'B'. Expected one of torch, mindspore"),
        (["vectors", "-o", "v"], "Missing option '--dialect'. Expected one of torch"),
        (["rewrite", "."], "Missing option '--to'. Expected one of torch"),
        (["translate", "nn.BatchNorm2d(3)"], "Expected one of torch"),
        (["explan", "torch", "keras"], "there is no command 'explan' (did you mean 'explain'?)"),
        (["Explain"], "there is no command 'Explain' (did you mean 'explain'?)"),
        (["compare", CHECKPOINT, CHECKPOINT, "--atol", "-1"], "atol must be a number from 0"),
        (["compare", CHECKPOINT, CHECKPOINT, "--rtol", "nan"], "rtol must be a number from 0"),
        (["convert", CHECKPOINT, "x.ckpt", "--settings", "eps"], "expected name=number"),
        (["diagnose", RECORDING, CHECKPOINT], "is no recording of `batchnorm record`"),
        (["conformance", "own.py:A", "--dialect", "torch"], "; own:A?"),
    ],
)
def test_bad_usage_is_told_what_is_expected(arguments, said, run):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert said in err


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["convert", CHECKPOINT, "there.ckpt"], "there.ckpt"),
        (["convert", CHECKPOINT, "no/x.ckpt"], "no/x.ckpt"),
        (["explain", "torch", "keras", "-o", "no/x.md"], "no/x.md"),
        (["convert", CHECKPOINT, "x.ckpt", "--map", "no.toml"], "no.toml"),
    ],
)
def test_a_file_is_named_once(arguments, name, run, tmp_path):
    (tmp_path / "there.ckpt").touch()
    code, _, err = run(*arguments)
    assert code == 2
    assert err.count(name) == 1


def test_a_function_that_makes_no_model_is_named_and_so_is_the_line_that_fails(run, tmp_path):
    np.savez(tmp_path / "batch.npz", x=np.zeros((2, 3, 4, 4), np.float32))
    (tmp_path / "bad.py").write_text("def no():\n    return 3\ndef boom():\n    return 1 / 0\n")
    for function, said in (
        ("no", "bad.py:no gave 3; expected a framework's model, or it and a loss"),
        ("boom", "bad.py, line 4: ZeroDivisionError"),
    ):
        wanted = ["--batch", "batch.npz", "-o", "x.bnrec"]
        code, _, err = run("record", f"bad.py:{function}", *wanted)
        assert code == 2
        assert said in err
        assert len(err) < 200


def test_several_files_have_their_names_above_them_and_no_line_of_thousands(run):
    code, out, _ = run("inspect", CHECKPOINT, CHECKPOINT)
    assert code == 0
    assert out.count(f"{CHECKPOINT}:\n") == 2
    assert "─" not in out


def test_vectors_of_another_draw_in_the_folder_are_said(run):
    assert run("vectors", "--dialect", "torch", "-o", "v", "--examples", "2")[2] == ""
    code, _, err = run("vectors", "--dialect", "torch", "-o", "v", "--examples", "1")
    assert code == 0
    assert err == "v holds 1 other .safetensors files, which stay\n"


def test_the_target_tells_what_a_call_is_not(run):
    asked = "translate", "nn.BatchNorm2d(3, eps=0.001)"
    code, out, _ = run(*asked, "--to", "mindspore")
    assert code == 0
    assert "read as torch, by its parameters, as it is to become mindspore" in out
    for to in ("keras", "all"):
        code, _, err = run(*asked, "--to", to)
        assert code == 2
        assert "can be torch or mindspore: say which with --from" in err


@pytest.mark.parametrize(
    ("locale", "said"), [("zh_CN.UTF-8", "无法判断"), ("C.UTF-8", "can't tell")]
)
def test_a_diagnosis_is_in_the_language_of_the_locale(locale, said, run, monkeypatch):
    monkeypatch.setenv("LC_ALL", locale)
    code, out, _ = run("diagnose", RECORDING, str(EXAMPLES / "port" / "port.bnrec"))
    assert code == 1
    assert said in out
