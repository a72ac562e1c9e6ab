"""Pairs of zoo/pairs.txt that CI can run: nets of two zoos convert without a map, logits equal.

All of `pairs.txt` is run by `python tests/convert/zoo/run.py`; CI has no torchvision, whose nets
are written out in its names (zoo/named.py).
"""

import json
from pathlib import Path

import pytest
from real_frameworks import needed, run_script

ZOO = Path(__file__).parent / "zoo"
PAIRS = [
    ("named:resnet50", "k3:ResNet50"),
    ("k3:ResNet50", "named:resnet50"),
    ("named:resnet50", "k2:ResNet50"),
    ("named:resnet18", "ms:resnet18"),
    ("ms:resnet50", "named:resnet50"),
    ("named:mobilenet_v2", "k3:MobileNetV2"),
    ("k3:MobileNetV2", "named:mobilenet_v2"),
    ("named:mobilenet_v2", "ms:mobilenet_v2_100"),
    ("k3:MobileNetV3Small", "k2:MobileNetV3Small"),
    ("k3:DenseNet121", "ms:densenet121"),
]


@pytest.fixture(scope="module")
def results():
    for package in ("torch", "tensorflow", "keras", "tf_keras", "mindspore", "mindcv"):
        needed(package)
    given = [text for pair in PAIRS for text in ("--pair", *pair)]
    lines = run_script(ZOO / "run.py", *given).splitlines()
    found = [json.loads(line[6:]) for line in lines if line.startswith("RESULT")]
    return {tuple(one.pop("pair")): one for one in found}


def test_the_pairs_are_those_of_the_table():
    lines = (ZOO / "pairs.txt").read_text().splitlines()
    listed = {tuple(line.split()[1:]) for line in lines if line and line[0] != "#"}
    assert {tuple(name.replace("named:", "tv:") for name in pair) for pair in PAIRS} <= listed


@pytest.mark.parametrize("pair", PAIRS, ids=" -> ".join)
def test_a_pair_converts_without_a_map_and_computes_the_same(results, pair):
    found = results[pair]
    assert found["outcome"] == "converted", found
    assert (found["exit"], found["open"]) == (0, 0)
    assert found["off"] <= 1e-5
