"""Every command's --json is one strict object in one envelope (docs/json.md)."""

import json
import re
from pathlib import Path

import pytest

from batchnorm.cli import COMMANDS, group, main

ROOT = Path(__file__).parents[2]
EXAMPLE = str(ROOT / "examples" / "resnet_tiny.pth")
CALL = "nn.BatchNorm2d(8, momentum=None)"


def refuse(word):
    raise AssertionError(f"{word} is no JSON")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["explain", "torch", "keras"], 0),
        (["translate", CALL, "--from", "torch", "--to", "keras"], 1),
        (["inspect", EXAMPLE], 0),
        (["compare", EXAMPLE, EXAMPLE], 0),
        (["convert", EXAMPLE, "{tmp}/a.ckpt"], 0),
        (["lint", "{tmp}/net.py"], 1),
        (["rewrite", "{tmp}/net.py", "--from", "torch", "--to", "keras"], 1),
        (["vectors", "--dialect", "keras", "--examples", "1", "-o", "{tmp}/v"], 0),
        (["bench", "--shape", "2,3,4,4", "--rounds", "1", "--task", "inference"], 0),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_three_keys_come_first(tmp_path, capsys, arguments, code):
    net = "from torch import nn\n\nnorm = nn.BatchNorm2d(8, momentum=0.9)\n"
    (tmp_path / "net.py").write_text(net)
    given = [argument.replace("{tmp}", str(tmp_path)) for argument in arguments]
    with pytest.raises(SystemExit) as ended:
        main([*given, "--json"])
    found = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert list(found)[:3] == ["schema", "command", "exit_code"]
    assert (found["command"], found["exit_code"]) == (given[0], code)
    assert ended.value.code == code


def test_every_command_that_reports_takes_it_and_is_documented():
    text = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `(\w+)` \| `", text, flags=re.M))
    for name in COMMANDS:
        options = {word for o in group.get_command(None, name).params for word in o.opts}
        if "--json" in options:
            assert name in documented, name
    assert documented <= set(COMMANDS)
