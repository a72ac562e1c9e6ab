"""A worker that is none: one error that names the program, in bounded time and memory."""

import json
import resource
import sys
import time

import pytest

from batchnorm.cli import main
from batchnorm.verify.oracle import Crashed, Hung, Oracle, OracleError

HELLO = {"dialect": "torch", "version": "2.13", "python": "3.11", "packages": {}}
LOOP = "for line in sys.stdin.buffer: out.write({line!r}); out.flush()"
FOREIGN = [
    b"null", b"[]", b"7", b"{}", b'"x"', b'{"jsonrpc": "2.0", "result": null}', b"NaN",
    b'{"answer": null}', b'{"answer": {"$array": 1}}', b'{"answer": {"$odd": []}}',
    b'{"answer": {"dialect": 1, "version": 2, "python": 3, "packages": 4}}',
    b'{"raised": null}', b'{"raised": [1, 2, 3]}', b'{"raised": ["A", "B"]}',
    b"[" * 100_000, b"1" * 9000, b"\xff\xfe", b"\x1b[2J\xc2\x9b", b"", b"{",
    b'{"answer": {"$array": ["<f4", [1099511627776], "", [0]]}}',
]  # fmt: skip


def program(folder, body):
    path = folder / "oracle"
    path.write_text(f"#!{sys.executable}\nimport os, sys, time\nout = sys.stdout.buffer\n{body}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("line", FOREIGN, ids=lambda line: repr(line[:30]))
def test_an_answer_that_is_none_is_one_error(line, tmp_path):
    python = program(tmp_path, LOOP.format(line=line + b"\n"))
    with pytest.raises(OracleError, match="is no answer") as caught:
        Oracle("torch", python).start()
    assert python in str(caught.value)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("line", FOREIGN[:12], ids=lambda line: repr(line[:30]))
def test_so_it_is_after_a_good_beginning(line, tmp_path):
    hello = json.dumps({"answer": HELLO}).encode() + b"\n"
    body = f"sys.stdin.buffer.readline(); out.write({hello!r}); out.flush()\n"
    python = program(tmp_path, body + LOOP.format(line=line + b"\n"))
    with Oracle("torch", python) as oracle, pytest.raises(OracleError, match="is no answer"):
        oracle.signature("BatchNorm1d", "__init__")


def test_a_flood_without_an_end_takes_bounded_memory(tmp_path):
    python = program(tmp_path, "while True: out.write(b'x' * (1 << 20))")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(Crashed, match="a line of over"):
        Oracle("torch", python).start()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10


def test_silence_and_death_are_told(tmp_path):
    with pytest.raises(Hung, match="did not answer within"):
        Oracle("torch", program(tmp_path, "time.sleep(60)"), start_timeout=0.5).start()
    with pytest.raises(Crashed, match="died of SIGKILL"):
        Oracle("torch", program(tmp_path, "os.kill(os.getpid(), 9)")).start()
    with pytest.raises(Crashed, match="no such thing"):
        Oracle("torch", program(tmp_path, "sys.exit('no such thing')")).start()


@pytest.mark.parametrize("leaving", ["sys.exit()", "time.sleep(60)"])
@pytest.mark.parametrize("session", [False, True])
def test_what_the_worker_has_started_is_not_waited_for(leaving, session, tmp_path):
    """It holds the worker's end of the pipes, also when the worker is gone."""
    start = f"subprocess.Popen(['sleep', '30'], start_new_session={session})"
    python = program(tmp_path, f"import subprocess; {start}; {leaving}")
    begin = time.monotonic()
    with pytest.raises(Hung):
        Oracle("torch", python, start_timeout=1).start()
    assert time.monotonic() - begin < 20


def test_a_flood_of_errors_does_not_fill_the_disk(tmp_path):
    python = program(tmp_path, "while True: sys.stderr.write('x' * (1 << 20))")
    with pytest.raises(Crashed, match="of standard error"):
        Oracle("torch", python).start()


def test_a_request_that_nobody_reads_is_given_up(tmp_path):
    hello = json.dumps({"answer": HELLO}).encode() + b"\n"
    body = f"sys.stdin.buffer.readline(); out.write({hello!r}); out.flush(); time.sleep(30)"
    with Oracle("torch", program(tmp_path, body)) as oracle, pytest.raises(Hung):
        oracle._ready().ask("signature", timeout=1, name="x" * (1 << 20))


def test_the_command_ends_with_a_line_and_no_traceback(tmp_path, capsys):
    python = program(tmp_path, LOOP.format(line=b'{"jsonrpc": "2.0"}\n'))
    with pytest.raises(SystemExit) as ended:
        main(["verify", "--framework", "torch", "--oracle", f"torch={python}", "--examples", "0"])
    assert ended.value.code == 2
    assert "batchnorm: the torch worker answers with what is no answer" in capsys.readouterr().err
