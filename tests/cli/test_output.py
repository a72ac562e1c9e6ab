"""What commands print: escaped, in any encoding, into any pipe; JSON that is JSON."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

import batchnorm as bn
from batchnorm.cli import COMMANDS, main
from batchnorm.cli.output import console
from batchnorm.printable import shown

NASTY = "n\x1b[31m\x9b2J\u202ex\u2066\u2028\r\x07é\U000e0041"
RAW = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029]")
ENCODINGS = ("ascii", "cp1252", "cp936", "utf-16")


def run(capfd, *arguments):
    """Exit code and both outputs; whatever they hold was seen on a terminal or in a log."""
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    out, err = capfd.readouterr()
    return ended.value.code, out, err


def command(*arguments, **settings):
    code = "from batchnorm.cli import main; main()"
    job = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(job, capture_output=True, timeout=120, **settings)


def state(prefix="bn"):
    names = ("weight", "bias", "running_mean", "running_var")
    return {f"{prefix}.{k}": np.full(3, i + 1.5, "f4") for i, k in enumerate(names)}


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "a.pth"
    bn.checkpoints.write(path, state())
    return path


@pytest.fixture
def nasty(tmp_path):
    """Checkpoints, maps, settings and sources that hold what a terminal would act on."""
    other = {**state("f\u202ecod\u0085"), "\u2066left.over": np.ones(2)}
    extras = {NASTY: NASTY, "loss": float("nan"), "best": float("inf")}
    for name in ("a.pth", "b.npz", "c.safetensors"):
        bn.checkpoints.write(tmp_path / name, {**state(), **other}, extras=extras)
    bn.checkpoints.write(tmp_path / "d.ckpt", state("g\u202ecod"), extras=extras)
    (tmp_path / "m.toml").write_text(
        f'version = 1\n[layers]\n{json.dumps(NASTY)} = "x"\n"bn" = {json.dumps(NASTY)}\n'
    )
    (tmp_path / "s.toml").write_text(f"[{json.dumps(NASTY)}]\n{json.dumps(NASTY)} = 2\n")
    source = f"from torch import nn\nclass N:\n  a = nn.BatchNorm2d(8, eps={NASTY[1:5]!r})\n"
    (tmp_path / f"{NASTY.replace('/', '')}.py").write_text(source + "  b = nn.BatchNorm2d(**x)\n")
    (tmp_path / "broken\x1b.py").write_text("nn.BatchNorm2d(\x1b")
    oracle = tmp_path / "oracle"
    words = f"import sys\nprint({NASTY!r}, file=sys.stderr)\nsys.exit(3)\n"
    oracle.write_text(f"#!{sys.executable}\n{words}", encoding="utf-8")
    oracle.chmod(0o755)
    return tmp_path


FEEDS = {
    "inspect": lambda p: [
        *([p / name] for name in ("a.pth", "b.npz", "c.safetensors", "d.ckpt")),
        [p / "a.pth", "--group", NASTY],
        [p / "a.pth", "--settings", p / "s.toml"],
        [p / NASTY],
    ],
    "convert": lambda p: [
        [p / "a.pth", p / "x.ckpt", "--dry-run"],
        [p / "a.pth", p / f"{NASTY}.ckpt", "--allow-missing"],
        [p / "d.ckpt", p / "x.weights.h5", "--dry-run"],
        [p / "a.pth", p / "x.ckpt", "--map", p / "m.toml"],
        [p / "a.pth", p / "x.ckpt", "--settings", p / "s.toml"],
        [p / "a.pth", p / "x.ckpt", "--from", NASTY],
        [p / "a.pth", p / "x.ckpt", "--like", p / NASTY],
    ],
    "compare": lambda p: [
        [p / "a.pth", p / "d.ckpt"],
        [p / "a.pth", p / "b.npz", "--map", p / "m.toml"],
        [p / "a.pth", p / NASTY],
    ],
    "record": lambda p: [
        [f"{p}/{NASTY}.py:f", "--batch", p / "b.npz", "-o", p / "x.bnrec"],
        [NASTY, "--batch", p / "b.npz", "-o", p / "x.bnrec"],
        [p / NASTY, "--batch", p / NASTY, "-o", p / "x.bnrec"],
    ],
    "diagnose": lambda p: [
        [p / "c.safetensors", p / "c.safetensors"],
        [p / "c.safetensors", p / "c.safetensors", "--map", p / "m.toml"],
        [p / NASTY, p / NASTY],
    ],
    "lint": lambda p: [[p], [p, "--format", "github"], [p, "--select", NASTY], [p / NASTY]],
    "rewrite": lambda p: [
        [p, "--from", "torch", "--to", "keras", "--check"],
        [p, "--from", "torch", "--to", NASTY],
        [p / NASTY, "--from", "torch", "--to", "keras"],
    ],
    "translate": lambda p: [
        [f"nn.BatchNorm2d(8, {NASTY!r})", "--from", "torch", "--to", "keras"],
        [f"nn.BatchNorm2d(8, device='{NASTY[1:5]}')", "--from", "torch", "--to", "keras"],
        [NASTY, "--to", "keras"],
    ],
    "explain": lambda p: [[NASTY, "torch"], ["torch", "keras", "-o", p / f"{NASTY}.xyz"]],
    "verify": lambda p: [
        ["--framework", "torch", "--oracle", f"torch={p}/oracle", "--examples", "0"],
        ["--framework", "torch", "--oracle", f"torch={p}/{NASTY}", "--examples", "0"],
        ["--oracle", NASTY],
    ],
    "conformance": lambda p: [
        [NASTY, "--dialect", "torch"],
        ["json:loads", "--dialect", NASTY],
        ["json:loads", "--dialect", "torch", "--expected", p / "s.toml"],
    ],
    "vectors": lambda p: [
        ["--dialect", NASTY, "-o", p / "v"],
        ["--dialect", "torch", "-o", p / f"v{NASTY}", "--examples", "1"],
        ["--dialect", "torch", "-o", p / NASTY / "v", "--examples", "1"],
    ],
    "bench": lambda p: [["--shape", NASTY], ["--level", NASTY]],
}


def test_every_command_is_fed():
    assert set(FEEDS) == set(COMMANDS)


@pytest.mark.parametrize("name", FEEDS)
def test_nothing_that_a_terminal_acts_on_is_printed(capfd, nasty, name):
    for arguments in FEEDS[name](nasty):
        code, out, err = run(capfd, name, *arguments)
        assert code in (0, 1, 2), (arguments, err)
        assert not RAW.findall(out + err), (arguments, out, err)
        assert "Traceback" not in err


@pytest.mark.parametrize("name", ["inspect", "convert", "compare"])
def test_json_of_strange_names_and_values_is_strict_and_escaped(capfd, nasty, name):
    for arguments in FEEDS[name](nasty)[:1]:
        code, out, _ = run(capfd, name, *arguments, "--json")
        assert code in (0, 1)
        assert not RAW.findall(out)
        json.loads(out, parse_constant=lambda text: pytest.fail(text))


def test_a_name_cannot_end_its_line(capfd, nasty):
    """A line of its own could be an instruction to the build server that shows the log."""
    path = nasty / "sub"
    path.mkdir()
    (path / "a\n::error::x.py").write_text("import torch.nn as nn\nnn.BatchNorm2d(momentum=0.9,)")
    rewrite = ["rewrite", path, "--from", "torch", "--to", "keras", "--check"]
    for arguments in (["lint", path], ["lint", path, "--format", "github"], rewrite):
        _, out, err = run(capfd, *arguments)
        assert out + err
        assert not [line for line in (out + err).splitlines() if line.startswith("::error::")]


def test_a_console_escapes_what_a_renderer_forgot(capfd):
    console().print(NASTY, markup=False)
    out = capfd.readouterr().out
    assert not RAW.search(out)
    assert out.startswith(shown(NASTY)[:20])


def test_letters_of_other_scripts_stay(capfd, tmp_path):
    bn.checkpoints.write(tmp_path / "a.pth", state("卷积.é.\u200cک"))
    assert "卷积.é.\u200cک" in run(capfd, "inspect", tmp_path / "a.pth")[1]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_console_of_any_encoding_is_written_to(encoding, nasty):
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = command("inspect", nasty / "a.pth", env=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "bn" in done.stdout.decode(encoding)
    page = ["explain", "torch", "keras", "--lang", "zh", "--format", "json"]
    for arguments in (["inspect", nasty / "a.pth", "--json"], page):
        assert json.loads(command(*arguments, env=environment).stdout)


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["explain", "--help"], ["explain", "torch", "keras"],
     ["lint", "--explain", "BN001"], ["inspect", "a.pth"],
     ["inspect", "a.pth", "--json"], ["convert", "a.pth", "b.ckpt"],
     ["translate", "nn.BatchNorm2d(8)", "--from", "torch", "--to", "keras"]],
    ids=" ".join,
)  # fmt: skip
@pytest.mark.parametrize("both", [False, True], ids=["output", "output and errors"])
def test_a_reader_that_has_left_ends_every_command_alike(arguments, both, checkpoint):
    reader, writer = os.pipe()
    os.close(reader)
    code = "from batchnorm.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        stdout=writer,
        stderr=writer if both else subprocess.PIPE,
        cwd=checkpoint.parent,
        timeout=120,
    )
    os.close(writer)
    assert (done.returncode, done.stderr or b"") == (141, b"")
    assert (checkpoint.parent / "b.ckpt").exists() == (arguments[0] == "convert")


@pytest.mark.parametrize("stream", [1, 2])
@pytest.mark.parametrize(
    "arguments",
    [["explain", "torch", "keras"], ["inspect", "a.pth", "--json"],
     ["diagnose", "r.bnrec", "r.bnrec"], ["convert", "a.pth", "b.ckpt"]],
    ids=" ".join,
)  # fmt: skip
def test_a_stream_that_was_closed_before_the_start_is_done_without(arguments, stream, checkpoint):
    from batchnorm.diagnose.files import save
    from batchnorm.diagnose.recording import Recording

    save(Recording("torch"), checkpoint.parent / "r.bnrec")
    settings = {"cwd": checkpoint.parent, "preexec_fn": lambda: os.close(stream)}
    done = command(*arguments, **settings)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    assert bool(done.stdout) == (stream == 2)


@pytest.mark.parametrize("kind", ["closed", "endless"])
@pytest.mark.parametrize("name", ["lint", "rewrite", "translate"])
def test_standard_input_that_is_none_or_has_no_end_is_refused(name, kind):
    to = {"lint": [], "rewrite": ["--from", "torch", "--to", "keras"]}.get(name, ["--to", "keras"])
    with open("/dev/zero", "rb") as endless:  # noqa: PTH123
        how = {"preexec_fn": lambda: os.close(0)} if kind == "closed" else {"stdin": endless}
        done = command(name, "-", *to, **how)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
    assert b"standard input" in done.stdout + done.stderr  # lint's report says what it left


@pytest.mark.parametrize(("value", "code"), [("v9", 2), ("\x1b", 2), ("", 0)])
def test_an_unknown_kernel_is_one_line(value, code, checkpoint):
    environment = {**os.environ, "BATCHNORM_KERNEL": value}
    done = command("inspect", checkpoint, env=environment)
    assert done.returncode == code
    lines = done.stderr.decode().splitlines()
    assert [line[:43] for line in lines] == ["batchnorm: BATCHNORM_KERNEL must be one of "] * bool(
        code
    )
    assert b"\x1b" not in done.stderr
    use = "import batchnorm, numpy; batchnorm.torch.BatchNorm1d(2)(numpy.ones((3, 2), 'f4'))"
    done = subprocess.run([sys.executable, "-c", use], env=environment, capture_output=True)
    assert (b"InvalidValue: BATCHNORM_KERNEL" in done.stderr) == bool(code)


def test_the_package_itself_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "batchnorm", "translat"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "did you mean 'translate'?" in done.stderr
