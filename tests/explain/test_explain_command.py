"""`batchnorm explain`: formats, files, exit codes."""

import json

import pytest

from batchnorm import cli
from batchnorm.explain import explain


def run_main(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        cli.main(["explain", *map(str, arguments)])
    return caught.value.code, capsys.readouterr()


def test_into_a_pipe_it_prints_markdown(capsys):
    code, shown = run_main(capsys, "torch", "mindspore")
    assert (code, shown.err) == (0, "")
    assert shown.out == explain("torch", "mindspore")


@pytest.mark.parametrize(
    ("name", "start"),
    [("a.md", "# How"), ("a.html", "<!doctype"), ("a.json", "{"), ("a.txt", "How")],
)
def test_a_file_gets_the_format_of_its_suffix(tmp_path, capsys, name, start):
    code, shown = run_main(capsys, "torch", "keras", "-o", tmp_path / name)
    assert (code, shown.out) == (0, "")
    assert (tmp_path / name).read_text(encoding="utf-8").startswith(start)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_format_and_language_can_be_given(tmp_path, capsys):
    file = tmp_path / "a.md"
    run_main(capsys, "torch", "keras", "--format", "json", "--lang", "zh", "-o", file)
    assert json.loads(file.read_text(encoding="utf-8"))["lang"] == "zh"


def test_a_file_is_replaced_only_by_force(tmp_path, capsys):
    file = tmp_path / "a.md"
    file.write_text("mine")
    code, shown = run_main(capsys, "torch", "keras", "-o", file)
    assert code == 2
    assert "--force" in shown.err
    assert file.read_text() == "mine"
    code, _ = run_main(capsys, "torch", "keras", "-o", file, "--force")
    assert code == 0
    assert file.read_text(encoding="utf-8") == explain("torch", "keras")


def test_a_dash_is_the_output(capsys):
    code, shown = run_main(capsys, "torch", "keras", "-o", "-")
    assert (code, shown.out) == (0, explain("torch", "keras"))


def test_a_dangling_link_is_replaced_only_by_force(tmp_path, capsys):
    link = tmp_path / "a.md"
    link.symlink_to(tmp_path / "gone.md")
    code, shown = run_main(capsys, "torch", "keras", "-o", link)
    assert code == 2
    assert "--force" in shown.err
    assert link.is_symlink()


def test_another_suffix_is_taken_with_a_format(tmp_path, capsys):
    file = tmp_path / "page"
    code, _ = run_main(capsys, "torch", "keras", "-o", file, "--format", "text")
    assert code == 0
    assert file.read_text(encoding="utf-8").startswith("How")


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_text_is_as_wide_as_columns_says(monkeypatch, capsys, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    _, shown = run_main(capsys, "torch", "mindspore", "--format", "text")
    width = max(map(len, shown.out.splitlines()))
    assert columns - 20 < width <= columns


def test_what_users_get_is_not_marked_as_generated(capsys):
    _, shown = run_main(capsys, "torch", "keras")
    assert "make generate" not in shown.out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("torch", "kears"), "did you mean 'keras'"),
        (("torch", "mindspore@1.0"), "known versions"),
        (("torch",), "Missing argument"),
        (("torch", "keras", "--format", "pdf"), "pdf"),
        (("torch", "keras", "-o", "no/such/folder/a.md"), "can't be written"),
        (("torch", "keras", "-o", "."), "is a folder"),
        (("torch", "keras", "-o", "no-such.pdf"), "pass --format"),
        (("torch", "keras", "-o", "no-such"), "pass --format"),
    ],
)
def test_usage_errors_exit_with_2(capsys, arguments, text):
    code, shown = run_main(capsys, *arguments)
    assert code == 2
    assert text in shown.err


def test_json_is_said_as_elsewhere(capsys):
    code, shown = run_main(capsys, "torch", "keras", "--json")
    assert code == 0
    assert json.loads(shown.out)["a"]["name"] == "torch"
    code, shown = run_main(capsys, "torch", "keras", "--json", "--format", "md")
    assert code == 2


def test_one_topic_and_what_is_silent(capsys):
    code, shown = run_main(capsys, "torch", "keras", "--about", "epsilon")
    assert code == 0
    assert "epsilon=1e-05" in shown.out
    code, silent = run_main(capsys, "torch", "keras", "--silent")
    assert code == 0
    assert len(silent.out.splitlines()) < 30
    code, shown = run_main(capsys, "torch", "keras", "--silent", "--full")
    assert code == 2
    assert "give one" in shown.err


def test_the_language_is_the_locales(capsys, monkeypatch):
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    _, shown = run_main(capsys, "torch", "keras", "--format", "json")
    assert json.loads(shown.out)["lang"] == "zh"
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    _, shown = run_main(capsys, "torch", "keras", "--format", "json")
    assert json.loads(shown.out)["lang"] == "en"
