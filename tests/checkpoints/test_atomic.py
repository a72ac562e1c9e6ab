"""After any interruption the old file or the new one is there, whole, and nothing is left over."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from batchnorm import checkpoints
from batchnorm.checkpoints.atomic import SUFFIX, replacement
from batchnorm.errors import CheckpointError

ARRAYS = {"bn/gamma": np.arange(4, dtype="f4"), "bn/beta": np.ones(4, "f4")}
OTHER = {"bn/gamma": np.zeros(4, "f4"), "bn/beta": np.zeros(4, "f4")}
HERE = Path(__file__).parent
FORMATS = ["safetensors", "torch", "mindspore", "npz", "keras-h5", "keras-weights", "keras"]


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_an_existing_file_is_replaced_only_when_forced(tmp_path):
    target = tmp_path / "x.npz"
    checkpoints.write(target, ARRAYS)
    before = target.read_bytes()
    with pytest.raises(CheckpointError, match=r"exists; give --force \(force=True\)"):
        checkpoints.write(target, OTHER)
    assert target.read_bytes() == before
    target.chmod(0o400)  # as MindSpore leaves its files
    checkpoints.write(target, OTHER, force=True)
    assert target.read_bytes() != before
    assert names(tmp_path) == ["x.npz"]


@pytest.mark.parametrize("way", ["itself", "relative", "soft link", "hard link", "linked folder"])
def test_the_input_is_never_the_output(way, tmp_path, monkeypatch):
    source = tmp_path / "x.npz"
    checkpoints.write(source, ARRAYS)
    before = source.read_bytes()
    target = tmp_path / "y.npz"
    if way == "itself":
        target = source
    elif way == "relative":
        monkeypatch.chdir(tmp_path)
        target = Path("x.npz")
    elif way == "soft link":
        target.symlink_to(source)
    elif way == "hard link":
        target.hardlink_to(source)
    else:
        (tmp_path / "also").symlink_to(tmp_path)
        target = tmp_path / "also" / "x.npz"
    with (
        checkpoints.read(source) as checkpoint,
        pytest.raises(CheckpointError, match="is the input; write to another file"),
    ):
        checkpoints.write(target, checkpoint, force=True)
    with pytest.raises(CheckpointError, match="is the input"):
        checkpoints.write(target, OTHER, force=True, inputs=[source])
    assert source.read_bytes() == before


def test_a_link_at_the_target_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "x.npz").symlink_to("precious")
    with pytest.raises(CheckpointError, match="exists"):
        checkpoints.write(tmp_path / "x.npz", ARRAYS)
    checkpoints.write(tmp_path / "x.npz", ARRAYS, force=True)
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert not (tmp_path / "x.npz").is_symlink()
    (tmp_path / "y.npz").symlink_to("nowhere")
    with pytest.raises(CheckpointError, match="exists"):
        checkpoints.write(tmp_path / "y.npz", ARRAYS)


def test_a_folder_a_device_and_a_missing_folder_are_refused(tmp_path):
    (tmp_path / "x.npz").mkdir()
    os.mkfifo(tmp_path / "y.npz")
    for name in ("x.npz", "y.npz"):
        with pytest.raises(CheckpointError, match="not a regular file"):
            checkpoints.write(tmp_path / name, ARRAYS, force=True)
    with pytest.raises(CheckpointError, match="its folder does not exist"):
        checkpoints.write(tmp_path / "no" / "x.npz", ARRAYS)


class Stop(BaseException):
    """What a signal handler may raise, like KeyboardInterrupt."""


@pytest.mark.parametrize("force", [False, True])
def test_an_exception_leaves_everything_as_it_was(force, tmp_path):
    target = tmp_path / "x.npz"
    if force:
        checkpoints.write(target, ARRAYS)

    def stop(done, total):
        raise Stop

    before = names(tmp_path)
    with pytest.raises(Stop):
        checkpoints.write(target, OTHER, force=force, progress=stop)
    assert names(tmp_path) == before
    if force:
        with checkpoints.read(target) as checkpoint:
            assert checkpoint["bn/beta"].load().tolist() == [1, 1, 1, 1]


def test_a_source_that_turns_out_damaged_leaves_everything_as_it_was(tmp_path):
    checkpoints.write(tmp_path / "a.pth", ARRAYS)
    content = bytearray((tmp_path / "a.pth").read_bytes())
    content[content.find(ARRAYS["bn/gamma"].tobytes())] ^= 1
    (tmp_path / "a.pth").write_bytes(content)
    with (
        checkpoints.read(tmp_path / "a.pth") as checkpoint,
        pytest.raises(CheckpointError, match="CRC"),
    ):
        checkpoints.write(tmp_path / "b.npz", checkpoint)
    assert names(tmp_path) == ["a.pth"]


def test_what_is_written_is_read_back_before_it_takes_its_place(tmp_path, monkeypatch):
    from batchnorm.checkpoints import files

    monkeypatch.setattr(files, "_crc", lambda entry: 0)  # as a faulty disk would give it back
    with pytest.raises(CheckpointError, match="does not read back as it was given"):
        checkpoints.write(tmp_path / "x.npz", ARRAYS)
    assert names(tmp_path) == []


def test_the_target_made_by_somebody_else_meanwhile_is_kept(tmp_path):
    def write():
        with replacement(tmp_path / "x") as new:
            new.file.write(b"ours")
            (tmp_path / "x").write_bytes(b"theirs")

    with pytest.raises(CheckpointError, match="made by somebody else"):
        write()
    assert (tmp_path / "x").read_bytes() == b"theirs"
    assert names(tmp_path) == ["x"]


def test_leftovers_of_dead_writers_go_and_those_of_living_ones_stay(tmp_path):
    dead = tmp_path / f".other.0123456789abcdef{SUFFIX}"
    dead.write_bytes(b"half")
    with replacement(tmp_path / "slow.npz") as living:
        living.file.write(b"all of it")
        checkpoints.write(tmp_path / "x.npz", ARRAYS)
        assert living.path.exists()
        assert not dead.exists()
    assert names(tmp_path) == ["slow.npz", "x.npz"]


def test_a_leftover_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / f".x{SUFFIX}").symlink_to("precious")
    checkpoints.write(tmp_path / "x.npz", ARRAYS)
    assert (tmp_path / "precious").read_bytes() == b"precious"


def test_new_files_get_the_users_permissions(tmp_path):
    old = os.umask(0o027)
    try:
        checkpoints.write(tmp_path / "x.npz", ARRAYS)
    finally:
        os.umask(old)
    assert (tmp_path / "x.npz").stat().st_mode & 0o777 == 0o640


def interrupted(*arguments):
    environment = {
        **os.environ, "PYTHONPATH": str(HERE.parents[1] / "src"), "OPENBLAS_NUM_THREADS": "1",
    }  # fmt: skip
    run = subprocess.run(
        [sys.executable, HERE / "interrupting.py", *map(str, arguments)],
        env=environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(run.stdout)


@pytest.mark.parametrize("kind", FORMATS)
def test_kill_9_at_200_random_points(kind, tmp_path):
    result = interrupted("kill", kind, tmp_path, 200)
    assert result["neither"] == 0
    assert result["old"] + result["new"] == 200
    assert min(result["old"], result["new"]) > 0, "the points did not cover the whole run"
    assert result["leftovers"] == 0


@pytest.mark.parametrize("kind", FORMATS)
def test_a_full_disk_at_every_size(kind, tmp_path):
    result = interrupted("full", kind, tmp_path, 60)
    assert result["neither"] == 0
    assert result["old"] > 0
    assert result["leftovers"] == 0
    assert result["errors"] == ["CheckpointError"]


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_a_new_file_has_the_mode_that_the_umask_says(mask, tmp_path):
    before = os.umask(mask)
    try:
        checkpoints.write(tmp_path / "x.npz", ARRAYS)
    finally:
        os.umask(before)
    assert (tmp_path / "x.npz").stat().st_mode & 0o777 == 0o666 & ~mask


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400, 0o664, 0o755])
@pytest.mark.parametrize("link", [False, True], ids=["file", "link"])
def test_a_file_that_is_replaced_keeps_its_mode(mode, link, tmp_path):
    target = old = tmp_path / "x.npz"
    if link:
        old = tmp_path / "old.npz"
        target.symlink_to(old)
    old.write_bytes(b"private")
    old.chmod(mode)
    checkpoints.write(target, ARRAYS, force=True)
    assert target.stat().st_mode & 0o777 == mode
    assert not target.is_symlink()
    assert not link or old.read_bytes() == b"private"


def test_nobody_reads_the_new_file_while_it_is_written_who_could_not_read_the_old(tmp_path):
    target = tmp_path / "x.npz"
    target.write_bytes(b"private")
    target.chmod(0o640)
    with replacement(target, force=True) as new:
        assert new.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid(), reason="only root gives away")
def test_who_owned_the_old_file_owns_the_new_one(tmp_path):
    target = tmp_path / "x.npz"
    target.write_bytes(b"private")
    os.chown(target, 1234, 4321)
    target.chmod(0o640)
    checkpoints.write(target, {"a": np.ones(2)}, force=True)
    status = target.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (1234, 4321, 0o640)


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="no users here")
def test_a_folder_that_may_be_written_and_not_listed_is_written():
    with tempfile.TemporaryDirectory() as home:
        Path(home).chmod(0o711)
        folder = Path(home, "drop")
        folder.mkdir()
        root = not os.geteuid()
        if root:
            os.chown(folder, 65534, 65534)
            os.seteuid(65534)
        try:
            folder.chmod(0o300)
            for _ in range(2):
                checkpoints.write(folder / "x.npz", {"a": np.ones(2)}, force=True)
            folder.chmod(0o700)
            assert [path.name for path in folder.iterdir()] == ["x.npz"]
        finally:
            if root:
                os.seteuid(0)


@pytest.mark.skipif(not hasattr(os, "fchown"), reason="no groups here")
def test_another_group_than_the_old_file_s_gets_no_access(tmp_path, monkeypatch):
    """Where the old file's group can't be given, the group's bits would be for another one."""
    target = tmp_path / "x.npz"
    target.write_bytes(b"private")
    target.chmod(0o664)
    real = os.fstat

    def elsewhere(descriptor):
        found = list(real(descriptor))
        found[5] += 1  # the group
        return os.stat_result(found)

    def refused(*_):
        raise PermissionError(1, "Operation not permitted")

    with replacement(target, force=True) as new:
        new.file.write(b"new")
        monkeypatch.setattr(os, "fstat", elsewhere)
        monkeypatch.setattr(os, "fchown", refused)
    assert target.stat().st_mode & 0o777 == 0o604


@pytest.mark.parametrize(
    "name", [".notes{}", ".x.npz.backup{}", ".x.npz.0123456789ABCDEF{}", "x.0123456789abcdef{}"]
)
def test_files_of_others_that_end_like_ours_stay(name, tmp_path):
    other = tmp_path / name.format(SUFFIX)
    other.write_text("mine")
    checkpoints.write(tmp_path / "x.npz", ARRAYS)
    assert other.read_text() == "mine"


@pytest.mark.parametrize("name", ["x" * 5000 + ".npz", "a\0b.npz", "f.txt/b.npz", "closed/x.npz"])
def test_a_path_that_the_system_refuses_is_our_own_error(name, tmp_path):
    (tmp_path / "f.txt").write_text("a file")
    (tmp_path / "closed").mkdir(mode=0)
    good = tmp_path / "good.npz"
    checkpoints.write(good, ARRAYS)
    jobs = (
        lambda p: checkpoints.read(p),
        lambda p: checkpoints.detect(p),
        lambda p: checkpoints.write(p, ARRAYS),
        lambda p: checkpoints.write(tmp_path / "new.npz", ARRAYS, inputs=[p]),
    )
    for job in jobs[: 2 if name.startswith("closed") and os.getuid() == 0 else 3]:
        with pytest.raises(CheckpointError):
            job(tmp_path / name)


def test_a_name_that_is_no_utf_8_is_a_name(tmp_path):
    target = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.npz"))
    checkpoints.write(target, ARRAYS)
    with checkpoints.read(target) as checkpoint:
        assert list(checkpoint) == list(ARRAYS)
    checkpoints.write(target, OTHER, force=True)
    assert len(names(tmp_path)) == 1
