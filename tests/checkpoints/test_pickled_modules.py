"""`torch.save(model)` read with every class inert: what a module has, and no code of the file."""

import subprocess
import sys

import numpy as np
import pytest
from hostile import refused, state, tensor, text, torch

import batchnorm as bn
from batchnorm import checkpoints

MODULE = ("_parameters", "_buffers", "_modules")


def table(*pairs):
    return b"}(" + b"".join(text(name) + value for name, value in pairs) + b"u"


def module(*, cls="strange\nNet", parameters=(), buffers=(), modules=(), more=()):
    """The opcodes of a module: a class of the file's, and the tables that BUILD gives it."""
    tables = [table(*part) for part in (parameters, buffers, modules)]
    body = table(*zip(MODULE, tables, strict=True), *more)
    return b"c" + cls.encode() + b"\n)\x81" + body + b"b"


def names(*texts):
    """A set, as protocol 2 writes one."""
    return b"c__builtin__\nset\n](" + b"".join(map(text, texts)) + b"e\x85R"


NORM = module(
    cls="torch.nn.modules.batchnorm\nBatchNorm2d",
    parameters=[("weight", tensor()), ("bias", tensor())],
    buffers=[("running_mean", tensor()), ("running_var", tensor()), ("mask", tensor())],
    more=[
        ("eps", b"G\x3f\x50\x62\x4d\xd2\xf1\xa9\xfc"),  # 0.001
        ("training", b"\x88"),
        ("_non_persistent_buffers_set", names("mask")),
        ("callback", b"cstrange\nrun\n"),
        ("sizes", b"K\x02K\x03\x86"),
    ],
)
NET = module(parameters=[("scale", tensor()), ("none", b"N")], modules=[("body", NORM)])
SAVED = ["scale", "body.weight", "body.bias", "body.running_mean", "body.running_var"]


def read(tmp_path, pickle):
    path = tmp_path / "a.pt"
    path.write_bytes(torch(pickle))
    return checkpoints.read(path)


def test_names_are_attribute_paths_in_saving_order(tmp_path):
    checkpoint = read(tmp_path, b"\x80\x02" + NET + b".")
    assert list(checkpoint) == SAVED
    assert checkpoint.groups == ("",)
    facts = checkpoint.metadata["layers"]["body"]
    assert facts == {"class": "BatchNorm2d", "config": {"eps": 0.001, "sizes": [2, 3]}}


def test_a_module_in_a_dictionary_is_a_group(tmp_path):
    checkpoint = read(tmp_path, state(("epoch", b"K\x03"), ("model", NET), ("ema", b"N")))
    assert list(checkpoint) == [f"model/{n}" for n in SAVED]
    assert list(checkpoint.group("model")) == SAVED
    assert checkpoint.group("model").metadata["layers"]["body"]["class"] == "BatchNorm2d"
    assert checkpoint.extras == {"epoch": 3, "ema": None}


def test_an_object_of_any_other_class_is_passed_over_by_name(tmp_path):
    thing = b"comegaconf.dictconfig\nDictConfig\n)\x81" + table(("x", b"K\x01")) + b"b"
    checkpoint = read(tmp_path, state(("w", tensor()), ("cfg", thing)))
    assert list(checkpoint) == ["w"]
    assert checkpoint.metadata["torch"]["skipped"] == {"cfg": "omegaconf.dictconfig.DictConfig"}


def loop():
    """A module that is its own child."""
    tables = zip(MODULE, [b"}", b"}", table(("me", b"h\x00"))], strict=True)
    return b"\x80\x02cstrange\nNet\n)\x81q\x00" + table(*tables) + b"b."


def doubling(levels=30):
    """Each module has the one before twice: few bytes, a tree without end."""
    pickle = b"\x80\x02" + module(parameters=[("w", tensor())]) + b"q\x000"
    for i in range(levels):
        child = bytes([ord("h"), i])
        pickle += module(modules=[("a", child), ("b", child)]) + b"q" + bytes([i + 1]) + b"0"
    return pickle + bytes([ord("h"), levels]) + b"."


CASES = {
    "a module in itself": (loop(), "nested more than"),
    "modules that double": (doubling(), "memory allow|times the file"),
    "a call of a library's function": (
        b"\x80\x02" + module(more=[("x", b"cos\nsystem\n" + text("id") + b"\x85R")]) + b".",
        "os.system",
    ),
    "no arrays": (b"\x80\x02" + module() + b".", "no state dictionary"),
    "a tensor of a class of its own": (
        state(("x", b"ctorch._utils\n_rebuild_wrapper_subclass\n)R")), "full_tensor",
    ),
    "an object that is no module": (b"\x80\x02cstrange\nNet\n)\x81.", "strange.Net"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused(case, tmp_path):
    pickle, match = CASES[case]
    path = tmp_path / "a.pt"
    path.write_bytes(torch(pickle))
    refused(path, match)


SCRIPT = '''
import sys, pathlib, torch
from torch import nn
pathlib.Path("strange_net.py").write_text("""
import torch; from torch import nn; open("RAN", "w").close()
class Net(nn.Module):
    def __init__(s):
        super().__init__()
        s.body = nn.Sequential(nn.ConvTranspose2d(3, 3, 3), nn.BatchNorm2d(3, 2e-3, None))
        s.register_buffer("gone", torch.ones(2), persistent=False)
        s.names, s.act = {0: "a", (1, 2): "b"}, torch.relu
    def __setstate__(s, state): open("RAN", "w").close(); super().__setstate__(state)
""")
sys.path.insert(0, "."); import strange_net
m = nn.DataParallel(strange_net.Net())
torch.save(m, "a.pt"); torch.save({"model": None, "ema": m.module, "updates": 3}, "b.pt")
torch.save(m, "c.pt", _use_new_zipfile_serialization=False)
torch.save(m, "d.pt", pickle_protocol=4)
torch.save(m.module.state_dict(), "s.pth"); pathlib.Path("RAN").unlink()
'''


def test_real_ones_are_as_their_state_dict_and_run_no_code(tmp_path):
    """Of DataParallel, in a trainer's dictionary, in the old format and in a later protocol."""
    pytest.importorskip("torch")
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT], cwd=tmp_path, check=True, timeout=300
    )
    wanted = checkpoints.read(tmp_path / "s.pth").load()
    for name in "abcd":
        done = bn.convert(tmp_path / f"{name}.pt", to="torch")
        assert done.report.exit_code == 0
        found = done.load()
        assert list(found) == list(wanted)
        for key, value in wanted.items():
            assert np.array_equal(found[key], value)
        assert done.report.settings["body.1"] == {"eps": 0.002, "momentum": None}
    kernel = bn.convert(tmp_path / "a.pt", to="keras").load()["body.0/kernel"]
    assert np.array_equal(kernel, wanted["body.0.weight"].transpose(2, 3, 1, 0))
    assert not (tmp_path / "RAN").exists()
