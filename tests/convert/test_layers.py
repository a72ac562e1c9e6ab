"""A layer of every kind goes from each framework to each other one and computes the same there."""

import itertools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from real_frameworks import NETS, needed, run_script

import batchnorm as bn

FRAMEWORKS = {"torch": ".pth", "mindspore": ".ckpt", "keras": ".keras", "tf_keras": ".h5"}
PAIRS = [p for p in itertools.permutations(FRAMEWORKS, 2) if "torch" in p or "mindspore" in p]


@dataclass
class Zoo:
    folder: Path
    reports: dict

    def file(self, a, b=""):
        return self.folder / f"{a}{f'-to-{b}' if b else ''}{FRAMEWORKS[b or a]}"

    def results(self, a, b=""):
        with np.load(self.folder / f"{a}-{b}.npz") as found:
            return dict(found)


def run(framework, jobs, folder):
    needed(framework)
    path = folder / f"{framework}-{len(list(folder.iterdir()))}.json"
    path.write_text(json.dumps(jobs))
    run_script(NETS / "layer_zoo.py", framework, str(path))


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    made = Zoo(tmp_path_factory.mktemp("zoo"), {})
    random = np.random.default_rng(1)
    shapes = {"x1": (2, 4, 9), "x2": (2, 4, 9, 8), "x3": (2, 4, 5, 6, 5), "rows": (2, 4)}
    data = {name: random.normal(0, 1, shape).astype(np.float32) for name, shape in shapes.items()}
    np.savez(made.folder / "data.npz", **data, ids=np.array([5, 1], np.int32))
    common = {"data": str(made.folder / "data.npz")}
    for a in FRAMEWORKS:
        results = str(made.folder / f"{a}-.npz")
        run(a, [{**common, "save": str(made.file(a)), "results": results}], made.folder)
    for a, b in PAIRS:
        done = bn.convert(made.file(a), made.file(a, b), like=made.file(b), assume_order=True)
        made.reports[a, b] = done.report
        assert done.report.written, done.report.as_json()
    for b in FRAMEWORKS:
        jobs = [
            {**common, "load": str(made.file(a, b)), "results": str(made.folder / f"{a}-{b}.npz")}
            for a in FRAMEWORKS
            if (a, b) in PAIRS
        ]
        run(b, jobs, made.folder)
    return made


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_every_layer_computes_the_same(zoo, a, b):
    assert zoo.reports[a, b].exit_code == 0, zoo.reports[a, b].as_json()
    own, other = zoo.results(a), zoo.results(a, b)
    assert set(own) == set(other)
    for name in own:
        assert own[name].shape == other[name].shape, name
        assert np.abs(own[name]).max() > 0.1
        assert np.abs(own[name] - other[name]).max() <= 1e-5 * np.abs(own[name]).max(), name
