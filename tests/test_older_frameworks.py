"""The command that makes older frameworks' environments says so where there is no Python for it."""

import older_frameworks
from batchnorm.frameworks import find


def test_without_a_python_of_that_version_nothing_is_made(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert older_frameworks.main(tmp_path / "made") == 2
    assert "no Python 3.9" in capsys.readouterr().err
    assert not (tmp_path / "made").exists()


def test_it_prints_the_command_that_asks_what_is_made(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(older_frameworks, "python", lambda: "python3.9")
    for name in older_frameworks.OLDER:
        assert find(name).older
        (tmp_path / name).mkdir()
        (tmp_path / name / "ready").touch()
    assert older_frameworks.main(tmp_path) == 0
    printed = capsys.readouterr().out
    for name in older_frameworks.OLDER:
        assert f"--framework {name} --oracle {name}={tmp_path / name / 'bin' / 'python'}" in printed
