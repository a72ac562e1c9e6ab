"""Hostile and damaged torch files end in one error, and nothing of them is run."""

import os
import pickle

import pytest
from hostile import DATA, bounded_memory, number, refused, state, tensor, text, torch, zipped

from batchnorm import checkpoints
from batchnorm.errors import CheckpointError

TWO = b"\0" * 8
DICT = b"\x80\x02}("


class Runs:
    def __reduce__(self):
        return os.system, ("touch /tmp/batchnorm-was-here",)


def laughs(levels):
    """Lists of lists of …, each twice in the next: few bytes, a tree without end."""
    start = b"\x80\x02}(" + text("x") + tensor() + b"q\x00" + text("y")
    lists = [b"](h%ch%ceq%c" % (i, i, i + 1) for i in range(levels)]
    return start + b"0".join(lists) + b"u."


# A list of pairs behind memo 1, OrderedDict behind memo 0.
PAIRS = (
    b"\x80\x02ccollections\nOrderedDict\nq\x000]("
    + b"".join(text(str(i)) + b"N\x86" for i in range(500)) + b"e\x85q\x010"
)  # fmt: skip

CASES = {
    "a system call": (torch(pickle.dumps(Runs(), 2)), "os.system|posix.system"),
    "a call in a corner": (
        torch(state(("x", tensor()), ("y", b"cos\nsystem\n" + text("id") + b"\x85R"))), "os.system",
    ),
    "a call by STACK_GLOBAL": (
        torch(state(("x", text("os") + text("system") + b"\x93"))), "os.system",
    ),
    "getattr": (torch(state(("x", b"cbuiltins\ngetattr\n"))), "builtins.getattr"),
    "an import by name": (torch(state(("x", b"cimportlib\nimport_module\n"))), "importlib"),
    "INST": (torch(b"\x80\x02(ios\nsystem\n."), "opcode b'i'"),
    "OBJ": (torch(b"\x80\x02(cos\nsystem\no."), "opcode b'o'"),
    "EXT1": (torch(b"\x80\x02\x82\x01."), "opcode"),
    "PERSID": (torch(b"\x80\x02Pos\n."), "opcode b'P'"),
    "calls a storage class": (torch(state(("x", b"ctorch\nFloatStorage\n)R"))), "can't have"),
    "calls text": (torch(state(("x", text("os.system") + b")R"))), "not a known name"),
    "builds on a tensor": (torch(state(("x", tensor() + b"}b"))), "sets the state"),
    "protocol 9": (torch(b"\x80\x09}."), "protocol 9"),
    "numel too small": (torch(state(("x", tensor(numel=1)))), "8 bytes, the pickle says 1"),
    "numel too large": (torch(state(("x", tensor(numel=3)))), "8 bytes, the pickle says 3"),
    "view beyond": (torch(state(("x", tensor(shape=(3,))))), "beyond its storage"),
    "offset beyond": (torch(state(("x", tensor(offset=1)))), "beyond its storage"),
    "strides beyond": (torch(state(("x", tensor(strides=(2,))))), "beyond its storage"),
    "negative offset": (torch(state(("x", tensor(offset=-1)))), "plain numbers"),
    "negative stride": (torch(state(("x", tensor(strides=(-1,))))), "plain numbers"),
    "negative shape": (torch(state(("x", tensor(shape=(-1,))))), "plain numbers"),
    "expanded without end": (
        torch(state(("x", tensor(shape=(1 << 40,), strides=(0,))))), "larger than the file",
    ),
    "expanded in two": (
        torch(state(("x", tensor(shape=(1 << 31, 1 << 31), strides=(0, 0))))), "larger than",
    ),
    "strides missing": (torch(state(("x", tensor(strides=())))), "0 strides"),
    "65 dimensions": (
        torch(state(("x", tensor(shape=(1,) * 65, strides=(1,) * 65)))), "65 dimensions",
    ),
    "storage missing": (torch(state(("x", tensor(key="7")))), "'7'.*missing"),
    "storage is a path": (torch(state(("x", tensor(key="../../etc/passwd")))), "missing"),
    "quantised": (torch(state(("x", tensor(kind="QInt8Storage")))), "QInt8Storage.*dequantize"),
    "a module": (torch(state(("x", b"ctorch.nn.modules.batchnorm\nBatchNorm2d\n"))), "state_dict"),
    "no tensors": (torch(state(("x", number(1)))), "no state dictionary"),
    "only a number": (torch(b"\x80\x02K\x01."), "holds a int, not a state"),
    "ends early": (torch(DICT), "cut short"),
    "stack empty": (torch(b"\x80\x020."), "empty stack"),
    "no mark": (torch(b"\x80\x02}u."), "mark is missing"),
    "two objects left": (torch(b"\x80\x02}}."), "not one object"),
    "mark left": (torch(b"\x80\x02(}."), "not one object"),
    "memo never written": (torch(b"\x80\x02h\x05."), "memo 5"),
    "odd items": (torch(DICT + text("x") + b"u."), "key without a value"),
    "unhashable key": (torch(DICT + b"]" + text("x") + b"u."), "keys that are no names"),
    "colliding keys": (torch(DICT + number((1 << 61) - 1) + text("x") + b"u."), "are no names"),
    "long integer": (torch(b"\x80\x02\x8b\xff\xff\x00\x00" + b"1" * 65535 + b"."), "65535 bytes"),
    "text without end": (torch(b"\x80\x02X\xff\xff\xff\x7f."), "announced"),
    "bytes without end": (torch(b"\x80\x02\x8e" + b"\xff" * 7 + b"\x7f."), "announced"),
    "a name without end": (torch(b"\x80\x02c" + b"x" * 5000 + b"\n."), "a line longer"),
    "not UTF-8": (torch(b"\x80\x02X\x01\x00\x00\x00\xff."), "not UTF-8"),
    "nested deep": (torch(b"\x80\x02" + b"]" * 2000 + b"a" * 1999 + b"."), "more than 32 deep"),
    "a cycle": (torch(b"\x80\x02]q\x00(h\x00" + tensor() + b"e."), "more than 32 deep"),
    "laughs": (torch(laughs(30)), "memory allow"),
    "lists for memory": (torch(b"\x80\x02](" + b"]" * 200_000 + b"e."), "memory allow"),
    "doubled for memory": (torch(b"\x80\x02]" + b"2" * 400_000 + b"."), "memory allow"),
    "memo for memory": (torch(b"\x80\x02]" + b"\x94" * 400_000 + b"."), "memory allow"),
    "names for memory": (
        torch(b"\x80\x02}(" + text("k" * 60_000) + b"](" + b"N" * 9000 + b"eu."),
        "60000 characters|memory allow",
    ),
    "pairs for memory": (
        torch(PAIRS + b"](" + b"h\x00h\x01R" * 2000 + b"e."), "memory allow",
    ),
    "attributes for memory": (
        torch(b"\x80\x02}(" + b"".join(number(i) + b"N" for i in range(500)) + b"uq\x000]("
              + b"}h\x00b" * 2000 + b"e."), "memory allow",
    ),
    "sizes for memory": (
        torch(b"\x80\x02ctorch\nSize\nq\x000](" + b"N" * 20_000 + b"e\x85q\x010]("
              + b"h\x00h\x01R" * 2000 + b"e."), "memory allow",
    ),
    "arguments for memory": (
        torch(state(("x", b"cargparse\nNamespace\n(" + b"N" * 500 + b"tR"))), "500 arguments",
    ),
    "arrays for the disk": (
        torch(state(*((f"x{i}", tensor(shape=(1 << 18,), strides=(0,))) for i in range(40)))),
        "32 times the file's size",
    ),
    "a storage that begins before itself": (
        torch(state(("x", b"ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage")
                     + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + number(2) + text("v")
                     + number(-2) + number(2) + b"\x87tQ" + number(0)
                     + b"K\x02\x85K\x01\x85\x89)RtR"))),
        "storage view",
    ),
    "sparse": (
        torch(state(("x", tensor()), ("y", b"ctorch._utils\n_rebuild_sparse_tensor\n)R"))),
        "sparse.*to_dense",
    ),
    "same name twice": (
        torch(b"\x80\x02}(" + text("a/b") + tensor() + text("a") + b"}(" + text("b") + tensor()
              + b"uu."), "occurs twice",
    ),
    "a name like a path": (torch(state(("../x", tensor()))), "path out of its folder"),
    "a terminal's escape": (torch(state(("\x1b[2J", tensor()))), "control characters"),
    "byte order unknown": (
        zipped([("a/data.pkl", state(("x", tensor()))), ("a/byteorder", b"mid")]),
        "not little or big",
    ),
    "no pickle": (zipped([("a/data/0", TWO), ("a/version", b"3")]), "no torch, Keras or NumPy"),
    "two pickles": (zipped([("a/data.pkl", b"."), ("b/data.pkl", b".")]), "2 members"),
    "a member twice": (zipped([("a/data.pkl", b"."), ("a/data.pkl", b".")]), "occurs twice"),
    "deflated": (torch(state(("x", tensor())), packing=8), "compressed.*zip -0"),
    "encrypted": (torch(state(("x", tensor())), flags=0x801), "encrypted"),
    "another compression": (torch(state(("x", tensor())), packing=12), "method 12"),
    "wrong CRC": (torch(state(("x", tensor())), crc=1), "CRC"),
    "sizes disagree": (torch(state(("x", tensor())), sizes=(9, 10)), "9 bytes should become 10"),
    "directory cut off": (torch(state(("x", tensor())))[:-30], "cut short"),
    "bytes behind": (torch(state(("x", tensor()))) + b"more", "bytes follow"),
    "bytes before": (b"PK\3\4junk" + torch(state(("x", tensor()))), "not where it says"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused(case, tmp_path):
    content, match = CASES[case]
    (tmp_path / "x.pth").write_bytes(content)
    refused(tmp_path / "x.pth", match)
    assert not os.path.exists("/tmp/batchnorm-was-here")  # noqa: PTH110


def test_members_that_overlap_are_refused(tmp_path):
    content = bytearray(torch(state(("x", tensor())), storages=(TWO, TWO)))
    first, second = (content.rfind(f"archive/data/{i}".encode()) - 46 for i in (0, 1))
    content[second + 42 : second + 46] = content[first + 42 : first + 46]  # one header for both
    content[second + 46 : second + 60] = content[first + 46 : first + 60]
    (tmp_path / "x.pth").write_bytes(content)
    refused(tmp_path / "x.pth", "occurs twice|overlap")


def test_a_flipped_bit_in_the_data_is_noticed_where_torch_loads_it(tmp_path):
    content = bytearray((DATA / "torch.pth").read_bytes())
    with checkpoints.read(DATA / "torch.pth") as checkpoint:
        wanted = checkpoint["conv1.weight"].load().tobytes()
    content[content.find(wanted) + 5] ^= 4
    (tmp_path / "x.pth").write_bytes(content)
    with checkpoints.read(tmp_path / "x.pth") as checkpoint:
        with pytest.raises(CheckpointError, match="CRC"):
            checkpoint["conv1.weight"].load()
        assert checkpoint["bn1.weight"].load().shape == (4,)


def test_a_bool_of_another_value_is_refused(tmp_path):
    content = torch(state(("x", tensor(kind="BoolStorage"))), storages=(b"\1\2",))
    (tmp_path / "x.pth").write_bytes(content)
    refused(tmp_path / "x.pth", "neither 0 nor 1")


def test_shared_storages_are_read_as_often_as_they_are_named(tmp_path):
    pairs = [(f"t{i}", tensor()) for i in range(200)]
    (tmp_path / "x.pth").write_bytes(torch(state(*pairs)))
    with bounded_memory(0), checkpoints.read(tmp_path / "x.pth") as checkpoint:
        assert len(checkpoint.load()) == 200


def test_together_no_more_is_loaded_than_the_promise_allows(tmp_path, monkeypatch):
    monkeypatch.setattr("batchnorm.checkpoints.source.ALLOWANCE", 1 << 16)
    pairs = [(f"t{i}", tensor(numel=4096, shape=(4096,))) for i in range(20)]
    (tmp_path / "x.pth").write_bytes(torch(state(*pairs), storages=(b"\0" * 16384,)))
    with checkpoints.read(tmp_path / "x.pth") as checkpoint:
        with pytest.raises(CheckpointError, match="share their data; load them one by one"):
            checkpoint.load()
        assert all(entry.load().size == 4096 for entry in checkpoint.values())


def test_a_pickle_nested_without_end_does_not_end_the_process(tmp_path):
    for opener, closer in ((b"]", b"a"), (b"}N", b"s"), (b"", b"\x85")):
        count = 50_000
        content = b"\x80\x02" + opener * count + b"N" + closer * count + b"."
        (tmp_path / "x.pth").write_bytes(torch(content))
        with pytest.raises(CheckpointError):
            checkpoints.read(tmp_path / "x.pth")


def test_a_counter_of_numbers_is_read_as_schedulers_keep_it(tmp_path):
    counter = b"ccollections\nCounter\n}K\x03K\x01s\x85R"
    (tmp_path / "x.pth").write_bytes(torch(state(("x", tensor()), ("milestones", counter))))
    with checkpoints.read(tmp_path / "x.pth") as checkpoint:
        assert checkpoint.extras == {"milestones/3": 1}


def test_the_memo_of_pythons_2_begins_at_1(tmp_path):
    content = b"\x80\x02}q\x01(" + text("x") + b"q\x02" + tensor() + b"q\x03u."
    (tmp_path / "x.pth").write_bytes(torch(content))
    with checkpoints.read(tmp_path / "x.pth") as checkpoint:
        assert list(checkpoint) == ["x"]
