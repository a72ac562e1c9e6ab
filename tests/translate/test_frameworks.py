"""The proofs on the real frameworks: what theory predicts is what they do."""

import importlib.util
import os
from dataclasses import replace

import pytest

from batchnorm.translate.proof import prove
from batchnorm.translate.real import arithmetic_of
from batchnorm.translate.translation import translate
from batchnorm.verify.oracle import Oracle

NAMES = {"torch": "torch", "mindspore": "mindspore", "tf_keras": "tf_keras", "keras": "keras"}
CASES = [
    ("torch", "mindspore", "nn.BatchNorm2d(8, eps=0.001, momentum=0.3)"),
    ("torch", "mindspore", "nn.BatchNorm2d(8, momentum=None)"),
    ("torch", "mindspore", "nn.BatchNorm2d(8, affine=False, track_running_stats=False)"),
    ("torch", "mindspore", "nn.BatchNorm1d(8, bias=False)"),
    ("torch", "keras", "nn.BatchNorm2d(8)"),
    ("torch", "tf_keras", "nn.BatchNorm2d(8, dtype=torch.float64, momentum=0.01)"),
    ("mindspore", "tf_keras", "nn.BatchNorm2d(8, gamma_init=0.5, affine=False)"),
    ("mindspore", "tf_keras", "nn.BatchNorm2d(8, use_batch_statistics=False)"),
    ("tf_keras", "keras", "BatchNormalization(1, renorm=True, momentum=0.8)"),
    ("tf_keras", "keras", "BatchNormalization(dtype='mixed_float16')"),
    ("keras", "tf_keras", "BatchNormalization(trainable=False)"),
    ("keras", "torch", "BatchNormalization(scale=False)"),
]


@pytest.fixture(scope="module")
def oracles():
    """One process per framework, for all cases; a framework that isn't there is left out."""
    found = {}
    for name in NAMES:
        if importlib.util.find_spec(name) is None:
            if os.environ.get("CI"):
                pytest.fail(f"{name} is not installed, and in CI it must be")
            continue
        found[name] = Oracle(name).start()
    yield found
    for oracle in found.values():
        oracle.close()


@pytest.mark.parametrize(("source", "target", "call"), CASES)
def test_a_proof_holds_on_the_real_frameworks(oracles, source, target, call):
    missing = {source, target} - set(oracles)
    if missing:
        pytest.skip(f"{' and '.join(sorted(missing))} not installed")
    made = translate(call, from_=source, to=target).plan
    found = prove(made, (oracles[source], oracles[target]), arithmetic=arithmetic_of(made))
    assert found.holds, found.problems or [row for row in found.rows if not row.holds]
    assert found.rows


@pytest.mark.parametrize("parameter", ["momentum", "epsilon"])
def test_a_wrong_translation_fails_on_the_real_frameworks_too(oracles, parameter):
    if not {"torch", "keras"} <= set(oracles):
        pytest.skip("torch and keras not installed")
    made = translate("nn.BatchNorm2d(8, eps=1e-4, momentum=0.3)", from_="torch", to="keras").plan
    wrong = {name: a for name, a in made.target.arguments.items() if name != parameter}
    made = replace(made, target=replace(made.target, arguments=wrong))
    found = prove(made, (oracles["torch"], oracles["keras"]), arithmetic=arithmetic_of(made))
    assert not found.holds
