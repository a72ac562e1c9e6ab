"""Keras 2 and 3 open every kind of file that we write from torch, and infer the same."""

import numpy as np
import pytest
from real_frameworks import run_jobs

import batchnorm as bn

NETS = {"vgg": ((4, 3, 16, 12), 6), "mobilenetv3": ((4, 3, 16, 16), 5)}
SUFFIXES = {"tf_keras": (".h5", ".keras", ".weights.h5"), "keras": (".h5", ".weights.h5")}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keras")
    jobs = []
    for net, (shape, classes) in NETS.items():
        x = np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)
        dy = np.ones((shape[0], classes), np.float32)
        np.savez(folder / f"{net}-data.npz", x=x, dy=dy)
        jobs.append({
            "net": net, "settings": {}, "seed": 1, "save": str(folder / f"{net}.pth"),
            "data": str(folder / f"{net}-data.npz"), "results": str(folder / f"{net}.npz"),
        })  # fmt: skip
    run_jobs("torch", jobs, folder)
    return folder


@pytest.mark.parametrize("framework", ["tf_keras", "keras"])
def test_a_template_of_each_kind_is_filled(source, framework):
    settings = {"epsilon": 1e-5, "momentum": 0.9}
    kinds = [(net, suffix) for net in NETS for suffix in SUFFIXES[framework]]
    names = {kind: f"{framework}-{kind[0]}{kind[1]}" for kind in kinds}
    run_jobs(framework, [
        {"net": net, "settings": settings, "seed": 2,
         "save": str(source / f"template-{names[net, suffix]}")} for net, suffix in kinds
    ], source)  # fmt: skip
    for net, suffix in kinds:
        said = {"layers": {"hidden": {"flatten": [8, 4, 3]}}} if net == "vgg" else None
        name = names[net, suffix]
        # MobileNetV3's `norm` and `blocks.0.norm3` are told apart by listing order alone.
        report = bn.convert(source / f"{net}.pth", source / name, like=source / f"template-{name}",
                            map=said, assume_order=net == "mobilenetv3").report  # fmt: skip
        assert report.exit_code == 0, (name, report.problems, report.doubts)
    run_jobs(framework, [
        {"net": net, "settings": settings, "seed": 3, "load": str(source / names[net, suffix]),
         "data": str(source / f"{net}-data.npz"), "results": str(source / f"{name}.npz")}
        for (net, suffix), name in names.items()
    ], source)  # fmt: skip
    for (net, _), name in names.items():
        with np.load(source / f"{net}.npz") as own, np.load(source / f"{name}.npz") as other:
            gap = np.abs(own["logits"] - other["logits"]).max()
            assert gap <= 1e-5 * np.abs(own["logits"]).max(), name
