"""Benchmarks of layers inside torch: answers are checked, bytes counted, architectures taken."""

import importlib
import importlib.util

import pytest

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def memory():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # which it would set for all that follows
        yield importlib.import_module("benchmarks.memory")


def test_resnet50_keeps_no_more_bytes_accelerated_or_fused_than_plain(memory):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 64, 64)
    for model in (memory.resnet50(10), memory.out_of_place(memory.resnet50(10))):
        found = {name: memory.kept(one, x) for name, one in memory.contenders(model).items()}
        assert found["torch"] > 4 * x.nbytes
        assert max(found.values()) == found["torch"]


def test_the_table_of_a_device_checks_answers_before_it_times_them(monkeypatch):
    device = importlib.import_module("benchmarks.device")
    text, right = device.report("cpu", (4, 6, 5, 5), 2, True)
    assert right
    rows = [line for line in text.splitlines() if line.startswith(("| float32", "| bfloat16"))]
    assert len(rows) == 2 * 2 * 5
    assert not any("wrong" in row for row in rows)
    monkeypatch.setattr(device, "RULES", {"keras": 1})  # whose variance isn't divided by n - 1
    text, right = device.report("cpu", (4, 6, 5, 5), 2, True)
    assert not right
    assert text.count("| port to keras | wrong | wrong |") == 4


FIVE = ["resnet18", "mobilenetv3_small_050", "efficientnet_b0", "regnety_002", "densenet121"]


@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("timm", "torchvision")),
    reason="needs timm and torchvision's Python files",
)
@pytest.mark.filterwarnings("ignore")
def test_all_batch_norms_of_five_architectures_are_taken():
    """benchmarks/results/architectures.md has all of timm's; derived_nets.py its classes here."""
    architectures = importlib.import_module("benchmarks.architectures")
    timm = architectures.zoo()
    found = [architectures.row(timm, name) for name in FIVE]
    assert [(count, left) for _, count, taken, _, left in found if count != taken] == []
    assert min(count for _, count, *_ in found) >= 20


@pytest.mark.parametrize("net", ["mobilenet", "regnet"])
def test_nets_whose_batch_norms_carry_activations_are_taken_whole(memory, net):
    """Those of benchmarks/activated_step.py; `memory` has set how many threads they use."""
    own = importlib.import_module("benchmarks.activated_step")
    steps = importlib.import_module("benchmarks.resnet50_step")
    torch.manual_seed(0)
    made = steps.contenders(getattr(own, net)(10))
    x = torch.randn(4, 3, 64, 64)
    wanted = made["torch"](x)
    for name in ("accelerate", "accelerate, fuse=True"):
        layers = [m for m in made[name].modules() if isinstance(m, own.BatchNormAct)]
        assert {type(vars(m)["forward"]).__name__ for m in layers} == {"Activated"}
        torch.testing.assert_close(made[name](x), wanted, rtol=1e-3, atol=1e-3)
    kinds = {type(m).__name__ for m in made["without batch norm"].modules()}
    assert "BatchNormAct" not in kinds
    assert kinds & {"ReLU", "ReLU6"}
    bare = {type(m).__name__ for m in made["without batch norm and ReLU"].modules()}
    assert not bare & {"BatchNormAct", "ReLU", "ReLU6"}
