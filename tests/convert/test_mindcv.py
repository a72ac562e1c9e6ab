"""MindCV's own ResNet-18 loads a torch ResNet-18, by a template and by a map.

MindCV 0.3.0 pools with pad_mode="same", which pads an even size at its end only, where torchvision
pads both ends. No checkpoint can carry that, so the torch net here pools as MindCV does.

Needs `pip install --no-deps mindcv tqdm pyyaml` beside MindSpore and torch.
"""

import numpy as np
import pytest
from real_frameworks import NETS, needed, run_jobs, run_script

import batchnorm as bn


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    for package in ("torch", "mindspore", "mindcv"):
        needed(package)
    folder = tmp_path_factory.mktemp("mindcv")
    random = np.random.default_rng(0)
    x = random.normal(0, 1, (2, 3, 64, 64)).astype(np.float32)
    np.savez(folder / "data.npz", x=x, dy=np.ones((2, 10), np.float32))
    run_jobs("torch", [{
        "net": "resnet18", "settings": {}, "save": str(folder / "a.pth"),
        "options": {"widths": [64, 128, 256, 512], "classes": 10, "pool_same": True},
        "data": str(folder / "data.npz"), "results": str(folder / "torch.npz"),
    }], folder)  # fmt: skip
    run_script(NETS / "mindcv_net.py", "template", str(folder / "like.ckpt"))
    return folder


@pytest.mark.parametrize("by", ["template", "map"])
def test_mindcv_loads_a_torch_resnet_18(files, by):
    target = files / f"{by}.ckpt"
    options = {"like": files / "like.ckpt"}
    if by == "map":
        names = {f"layer{i}.0.downsample.{j}": f"layer{i}.0.down_sample.{j}"
                 for i in (2, 3, 4) for j in (0, 1)}  # fmt: skip
        options = {"map": {"layers": {**names, "fc": "classifier"}}}
    report = bn.convert(files / "a.pth", target, **options).report
    assert report.exit_code == 0
    results = files / f"{by}.npz"
    run_script(NETS / "mindcv_net.py", "load", str(target), str(files / "data.npz"), str(results))
    with np.load(files / "torch.npz") as own, np.load(results) as other:
        gap = np.abs(own["logits"] - other["logits"]).max()
        assert gap <= 1e-5 * np.abs(own["logits"]).max()
