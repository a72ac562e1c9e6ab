"""Real nets and files: what differs in form only, and what training leaves beside the net."""

import json

import pytest
from real_frameworks import NETS, needed, run_script


def lines(script, folder):
    return [
        json.loads(line)
        for line in run_script(NETS / script, str(folder)).splitlines()
        if line.startswith("{")
    ]


def test_nets_that_differ_in_form_give_equal_outputs(tmp_path):
    needed("keras")
    needed("torch")
    found = lines("keras_forms.py", tmp_path)
    assert len(found) == 10
    last = found.pop()
    assert last["exit"] == 1
    assert last["left"] == ["normalization"]
    assert last["off"] == 0
    for line in found:
        assert line["exit"] == 0, line
        assert line["off"] < 1e-5, line


@pytest.mark.parametrize("count", [12])
def test_what_training_leaves_is_told_from_the_net(count, tmp_path):
    needed("mindspore")
    needed("torch")
    found = lines("trained_files.py", tmp_path)
    assert len(found) == count
    assert not [line for line in found if not line["good"]]
