"""Hostile and damaged .keras archives end in one error; the config is data."""

import json
import zipfile

import pytest
from hostile import DATA, refused, zipped

from batchnorm import checkpoints

with zipfile.ZipFile(DATA / "keras_renorm.keras") as archive:
    MEMBERS = {name: archive.read(name) for name in archive.namelist()}
CONFIG = json.loads(MEMBERS["config.json"])


def changed(options=None, **members):
    names = {"weights": "model.weights.h5", "config": "config.json", "facts": "metadata.json"}
    content = dict(MEMBERS)
    for name, value in members.items():
        if value is None:
            del content[names[name]]
        else:
            content[names[name]] = value
    return zipped(list(content.items()), **(options or {}))


def nested(depth):
    layer = {"class_name": "Functional", "config": {"name": "m", "layers": []}}
    for _ in range(depth):
        layer = {"class_name": "Functional", "config": {"name": "m", "layers": [layer]}}
    return json.dumps(layer).encode()


CASES = {
    "no weights": (changed(weights=None), "model.weights.h5 is missing"),
    "weights in shards": (
        zipped([*MEMBERS.items(), ("model.weights.json", b"{}")]), "sharded or npz",
    ),
    "weights deflated": (changed({"packing": 8}), "compressed"),
    "weights not HDF5": (changed(weights=b"PK\3\4" + b"\0" * 200), "superblock"),
    "wrong CRC": (changed({"crc": 7}), "CRC"),
    "config not JSON": (changed(config=b"{"), "not JSON"),
    "config a list": (changed(config=b"[]"), "not a JSON object"),
    "config with a key twice": (changed(config=b'{"config":{},"config":{}}'), "occurs twice"),
    "config nested deep": (changed(config=b'{"config":' * 2500 + b"}" * 2500), "nested too deep"),
    "models nested deep": (changed(config=nested(40)), "nested more than 32 deep"),
    "a layer without class": (
        changed(config=b'{"config":{"layers":[{"config":{"name":"a"}}]}}'), "without class",
    ),
    "layers for memory": (
        changed(config=b'{"config":{"layers":[' + b'{"class_name":"A"},' * 5000
                + b'{"class_name":"A"}]}}'), "memory",
    ),
    "JSON for memory": (changed(config=b"[" + b"[]," * 300_000 + b"[]]"), "memory"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused(case, tmp_path):
    content, match = CASES[case]
    (tmp_path / "x.keras").write_bytes(content)
    refused(tmp_path / "x.keras", match)


@pytest.mark.parametrize("config", [None, b"{}", b'{"config": null}', b'{"config": 3}'])
def test_without_a_usable_config_the_weights_are_still_read(config, tmp_path):
    (tmp_path / "x.keras").write_bytes(changed(config=config))
    with checkpoints.read(tmp_path / "x.keras") as checkpoint:
        assert list(checkpoint) == [f"bn/{i}" for i in range(7)]
        assert checkpoint["bn/3"].load().shape == (3,)


def test_a_config_that_disagrees_with_the_weights_names_no_variable(tmp_path):
    config = json.loads(json.dumps(CONFIG))
    for layer in config["config"]["layers"]:
        layer["config"]["renorm"] = False
    (tmp_path / "x.keras").write_bytes(changed(config=json.dumps(config).encode()))
    with checkpoints.read(tmp_path / "x.keras") as checkpoint:
        assert list(checkpoint) == [f"bn/{i}" for i in range(7)]


def test_a_deflated_config_is_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.keras", "w") as out:
        for name, content in MEMBERS.items():
            kind = zipfile.ZIP_DEFLATED if name.endswith(".json") else zipfile.ZIP_STORED
            out.writestr(name, content, kind)
    with checkpoints.read(tmp_path / "x.keras") as checkpoint:
        assert list(checkpoint)[4:] == ["bn/moving_stddev", "bn/renorm_mean", "bn/renorm_stddev"]
