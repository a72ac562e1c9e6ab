"""Every parameter of every command gets what nobody should give: one error, and never a traceback.

The parameters are read from the commands, so that a new one is put to this without being listed.
What it gets depends on what it takes: files and their contents, paths, or text.
"""

import io
import os
import signal
import socket
import struct
import sys
from contextlib import contextmanager

import click
import numpy as np
import pytest
from test_output import RAW, state

import batchnorm as bn
from batchnorm.cli import COMMANDS, group, main

LONG = "x" * 5000
DEEP = 20_000
TEXTS = ("", " ", "\0", "a\0b", "\udcff\udc80", "\x1b[2J\u202e", LONG, "9" * 5000, "1e999", "nan",
         "-1", "(" * 300, "[", "=", ":", "a:b.c", "torch=", "\u2028\n::error::x")  # fmt: skip
PATHS = ("", ".", "\0", "a\0b", "\udcff\udc80.pth", LONG, "d/" * 3000 + "x", "missing/x.pth",
         "fifo", "socket", "link to fifo", "loop", "folder", "endless", "sealed", "/dev/null",
         "\x1b[2J\u202e.npz", "-")  # fmt: skip
FILES = {
    "empty": b"", "nul": b"\0" * 64, "not utf-8": b"\xff\xfe\x80", "one line": b"x" * 100_000,
    "brackets": b"[" * DEEP, "braces": b'{"a":' * DEEP, "controls": b"\x1b[2J\xe2\x80\xae = 1",
    "digits": b"a = 1" + b"0" * 6000, "table": b"[layers]\n" + b'"a.b" = "x"\n' * 2,
    "dotted": b"a" + b".a" * DEEP + b" = 1", "map": b"version = 1\n[layers]\nbn = 7\n",
    "version": b'version = "1"\n', "nan": b"version = nan\n", "date": b"version = 1979-05-27\n",
    "list": b"[]", "null": b"null", "number": b'{"schema": 1e400}', "cells": b'{"cells": 1}',
    "zip": b"PK\3\4" + b"\0" * 40, "hdf5": b"\x89HDF\r\n\x1a\n" + b"\0" * 80,
    "pickle": b"\x80\x02cos\nsystem\nX\x02\0\0\0lsR.", "onnx": b"\x08\x0a\x12\x01x" + b"\x3a" * 9,
    "baseline": b'{"schema": 1, "findings": [{"path": 1}]}',
    "index": b'{"weight_map": {"a": ".."}}',
    "own index": b'{"weight_map": {"a": "own index"}}',
    "parentheses": b"batchnorm = " + b"(" * 5000,
    "minus": b"batchnorm = " + b"-" * DEEP + b"1", "coding": b"# coding: batchnorm\n",
    "sides": b'{"a":{"dtype":"F32","shape":[0,99999999999999999999],"data_offsets":[0,0]}}',
}  # fmt: skip


@pytest.fixture
def place(tmp_path, monkeypatch):
    """What the commands get when nothing is wrong, and what can be wrong with a file."""
    folder = tmp_path
    monkeypatch.chdir(folder)
    for name in ("a.pth", "b.npz", "c.ckpt"):
        bn.checkpoints.write(folder / name, state())
    np.savez(folder / "x.npz", x=np.zeros((4, 3, 2, 2), "f4"))
    run = bn.diagnose  # imported with its module
    assert run
    from batchnorm.diagnose.files import save
    from batchnorm.diagnose.recording import Recording

    save(Recording("torch"), folder / "r.bnrec")
    (folder / "m.toml").write_text('version = 1\n[layers]\n"bn" = "bn"\n')
    (folder / "net.py").write_text("from torch import nn\nx = nn.BatchNorm2d(8)\n")
    (folder / "plain.py").write_text("x = object\n")
    (folder / "folder").mkdir()
    os.mkfifo(folder / "fifo")
    (folder / "link to fifo").symlink_to("fifo")
    (folder / "loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket"))
    with (folder / "endless").open("wb") as endless:
        endless.truncate(1 << 40)
    (folder / "sealed").write_bytes(b"")
    (folder / "sealed").chmod(0)
    for name, content in FILES.items():
        if name == "sides":
            content = struct.pack("<Q", len(content)) + content
        (folder / name).write_bytes(content)
    return folder


ORDINARY = {
    "bench": {"shape": "2,3,4", "rounds": "1"},
    "explain": {"a": "torch", "b": "keras"},
    "translate": {"call": "nn.BatchNorm2d(8)", "from_": "torch", "to": "keras"},
    "convert": {"source": "a.pth", "target": "out.ckpt", "force": None},
    "inspect": {"files": "a.pth"},
    "compare": {"a": "a.pth", "b": "c.ckpt"},
    "record": {"model": "plain.py:x", "batch": "x.npz", "output": "out.bnrec", "force": None},
    "diagnose": {"source": "r.bnrec", "port": "r.bnrec"},
    "lint": {"paths": "net.py", "jobs": "1"},
    "rewrite": {"paths": "net.py", "from_": "torch", "to": "keras", "jobs": "1"},
    "verify": {"frameworks": "torch", "examples": "0", "oracles": "torch=/dev/null"},
    "vectors": {"dialect": "torch", "output": "vectors", "examples": "1"},
    "conformance": {"adapter": "json:loads", "dialect": "torch", "examples": "0"},
}


def parameters():
    """Every parameter that takes a value, of every command."""
    for name in COMMANDS:
        for one in group.get_command(click.Context(group), name).params:
            if not getattr(one, "is_flag", False):
                yield pytest.param(name, one, id=f"{name} {one.name}")


def written(command, values):
    """The words of a command line."""
    words = []
    for one in group.get_command(click.Context(group), command).params:
        if one.name in values and isinstance(one, click.Option):
            value = values[one.name]
            name = max(one.opts, key=len)
            words += [name] if value is None else [f"{name}={value}"]
    own = [one for one in group.get_command(click.Context(group), command).params
           if isinstance(one, click.Argument)]  # fmt: skip
    return [command, *words, "--", *(values[one.name] for one in own)]


class TooLong(BaseException):
    """What nothing catches."""


@contextmanager
def bounded(seconds):
    """Interrupt what doesn't end."""

    def stop(*_):
        raise TooLong(f"{seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(("command", "one"), list(parameters()))
def test_whatever_a_parameter_gets_is_used_or_refused(command, one, place, capfd, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    takes_files = isinstance(one.type, click.Path) or one.name in ("settings", "model", "output")
    faults = []
    for given in [*TEXTS, *PATHS, *FILES] if takes_files else TEXTS:
        fault = wrong_with(written(command, {**ORDINARY[command], one.name: given}), capfd)
        faults += [f"{given[:40]!r}: {fault}"] if fault else []
    assert not faults


def wrong_with(arguments, capfd):
    """What a command did that it must not do whatever it is given; empty where nothing."""
    try:
        with bounded(5):
            main(arguments)
    except SystemExit as ended:
        code = ended.code
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:300]}"
    out, err = capfd.readouterr()
    if code not in (0, 1, 2):
        return f"exit code {code}"
    if RAW.search(out + err) or "Traceback" in err or len(err) > 20_000:
        return f"printed {out[:200]!r} and {err[:300]!r}"
    return ""
