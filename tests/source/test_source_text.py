"""Files as they come: encodings, newlines, places of nodes, edits, folders and links."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from batchnorm.source import Edit, SourceError, apply, find, parse_source, work_on, write


@pytest.mark.parametrize(
    "raw",
    [
        "x = 'é'\nname = f(a)\n".encode(),
        b"\xef\xbb\xbfx = 1\nname = f(a)\n",
        "# -*- coding: latin-1 -*-\nx = 'é'\nname = f(a)\n".encode("latin-1"),
        b"x = 1\r\nname = f(a)\r\n",
        b"x = 1\rname = f(a)\r",
        b"x = '''\n\x0c\n'''\nname = f(a)",
        "x = 'é\u2028é'; name = f(a)\n".encode(),
    ],
)
def test_a_node_is_where_it_says_and_the_rest_stays(raw):
    source = parse_source(raw)
    call = next(n for n in ast.walk(source.tree) if isinstance(n, ast.Call))
    assert source.text(call) == "f(a)"
    start, end = source.span(call)
    changed = apply(source.data, [Edit(start, end, "g(b)")])
    assert source.encoded(changed) == raw.replace(b"f(a)", b"g(b)")


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"x = = 1\n", "line 1: does not parse"),
        (b"print 'python 2'\n", "does not parse"),
        (b"x = 1\0\n", "does not parse"),
        (b"x = '\xff'\n", "is not text in its encoding"),
        (b"# coding: nonsense\n", "is not text in its encoding"),
        (b"x = " + b"(" * 5000 + b")" * 5000, "does not parse"),
    ],
)
def test_what_is_no_source_says_so(raw, said):
    with pytest.raises(SourceError, match=said):
        parse_source(raw)


def test_a_text_that_its_encoding_cannot_say_is_refused():
    source = parse_source(b"# coding: ascii\nx = 1\n")
    with pytest.raises(SourceError, match="can't be written in its encoding"):
        source.encoded("# coding: ascii\nx = 'é'\n".encode())


def test_edits_that_overlap_are_a_mistake():
    with pytest.raises(AssertionError, match="overlap"):
        apply(b"abcdef", [Edit(0, 3, "x"), Edit(2, 4, "y")])


def test_only_files_that_name_a_batch_norm_are_found(tmp_path):
    (tmp_path / "a.py").write_text("nn.BatchNorm2d")
    (tmp_path / "b.py").write_text("batch_norm = 1")
    (tmp_path / "c.py").write_text("import os")
    (tmp_path / "d.txt").write_text("BatchNorm2d")
    (tmp_path / "e.ipynb").write_text('{"cells": []}')
    (tmp_path / "f.pyi").write_text("class BatchNorm2d: ...")
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "f.py").write_text("BatchNorm2d")
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "g.py").write_text("BatchNormalization")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "gone.py").symlink_to(tmp_path / "nowhere")
    found = find([tmp_path, tmp_path / "a.py"], ["deep/er"])
    assert [p.name for p in found.files] == ["a.py", "b.py", "f.pyi"]
    assert found.others == 2
    assert [(p.name, kind) for p, kind in found.special] == [("pipe.py", "a named pipe")]
    assert [p.name for p, _ in found.errors] == ["gone.py"]


def test_a_pipe_that_is_named_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.py")
    ((path, reason),) = find([tmp_path / "pipe.py"]).errors
    assert path.name == "pipe.py"
    assert "named pipe" in reason
    assert "-" in reason


@pytest.mark.parametrize("kind", ["pipe", "of the system", "endless"])
def test_what_a_file_imports_is_read_only_where_it_is_a_file(kind, tmp_path):
    """In a process of its own, as nothing else would end it."""
    place = tmp_path / "other.py"
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "of the system":
        place.symlink_to("/proc/kmsg")
    else:
        with place.open("wb") as file:
            file.truncate(1 << 40)
    text = "from torch import nn\nfrom other import eps, Net, layer\nnn.BatchNorm2d(8, eps=eps)\n"
    text += "net = Net(layer)\noptimizer.step()\n"
    (tmp_path / "a.py").write_text(text + "\n".join(f"net{i} = Net()" for i in range(3)))
    code = "import sys; from batchnorm.cli import main; main(sys.argv[1:])"
    for command in (["lint"], ["rewrite", "--from", "torch", "--to", "keras", "--check"]):
        for path in (tmp_path, place):
            job = [sys.executable, "-c", code, *command, "--jobs", "1", str(path)]
            done = subprocess.run(job, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode in (0, 1, 2)
            assert "Traceback" not in done.stderr


def length(path, raw):
    if b"bad" in raw:
        raise SourceError("line 1: bad")
    if b"deep" in raw:
        raise RecursionError
    if b"fault" in raw:
        raise KeyError("fault")
    if b"end" in raw:
        os._exit(9)
    return len(raw)


def test_a_process_that_is_ended_leaves_an_outcome_for_each_file(tmp_path):
    files = [tmp_path / f"{index:02}.py" for index in range(20)]
    for file in files:
        file.write_text("end" if file.name == "11.py" else "x")
    outcomes = list(work_on(files, length, jobs=2))
    assert [outcome.path for outcome in outcomes] == files
    assert "ended" in outcomes[11].error
    assert all(outcome.result == 1 or "ended" in outcome.error for outcome in outcomes)


@pytest.mark.parametrize("count", [3, 20])
def test_work_goes_on_after_a_bad_file_in_one_process_or_several(tmp_path, count):
    files = [tmp_path / f"{index:02}.py" for index in range(count)]
    for index, file in enumerate(files):
        file.write_text("x" * index)
    files[0].write_text("bad")
    files[1].write_text("deep")
    files[2].write_text("fault")
    outcomes = list(work_on(files, length, jobs=2))
    assert [outcome.path for outcome in outcomes] == files
    assert outcomes[0].error == "line 1: bad"
    assert outcomes[1].error == "is nested too deeply"
    assert "internal error" in outcomes[2].error
    assert [outcome.result for outcome in outcomes[3:]] == list(range(3, count))


def test_a_file_is_replaced_whole_with_its_mode_and_through_its_link(tmp_path):
    file, link = tmp_path / "a.py", tmp_path / "link.py"
    file.write_bytes(b"old")
    file.chmod(0o751)
    link.symlink_to(file)
    write(link, b"new", b"old")
    assert link.is_symlink()
    assert file.read_bytes() == b"new"
    assert file.stat().st_mode & 0o777 == 0o751
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.py", "link.py"]


def test_a_file_that_changed_meanwhile_is_not_overwritten(tmp_path):
    file = Path(tmp_path, "a.py")
    file.write_bytes(b"somebody else's")
    with pytest.raises(SourceError, match="has changed since"):
        write(file, b"new", b"old")
    assert file.read_bytes() == b"somebody else's"


def test_an_annotation_in_quotes_is_read_where_it_stands():
    raw = b"""
def f(a: 'x.BatchNorm2d', b: "T['y.Norm']" = 'z.Norm') -> L['u.Norm', Literal['v.Norm']]: ...
"""
    source = parse_source(raw)
    found = [source.text(n) for n in ast.walk(source.tree) if isinstance(n, ast.Attribute)]
    assert sorted(found) == ["u.Norm", "x.BatchNorm2d"]


@pytest.mark.parametrize(
    "raw", [b"a: 'x.Norm['\n", rb"a: 'x\x2eNorm'", b'a: """x.\n Norm"""\n', b"a: r'Norm'\n"]
)
def test_an_annotation_that_quotes_in_another_way_stays_a_string(raw):
    assert isinstance(parse_source(raw).tree.body[0].annotation, ast.Constant)
