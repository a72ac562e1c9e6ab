"""A net trained in one framework goes on in another as it would have where it began.

Each framework trains a small net in a process of its own (training_elsewhere.py), and goes on with
it twice: one of the two with each value of the batches moved by one unit in the last place. Our
layers then go on from the same weights in torch, Keras 3 and JAX, by the rules of where it began,
and may end ten times as far away as the nudged one does.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch_here  # noqa: F401 (skips all of this where torch is missing)
import torch_net
import training_elsewhere
from subprocesses import QUIET, need

from batchnorm.hosts.torch import port

FRAMEWORKS = ("tf_keras", "keras", "mindspore", "torch")
HERE = Path(__file__).parent


def run(script, *arguments, **env):
    done = subprocess.run(
        [sys.executable, str(HERE / script), *map(str, arguments)],
        env={**os.environ, **QUIET, **env},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def given():
    draw = np.random.default_rng(0)
    steps, batch = training_elsewhere.FIRST + 30, 8
    arrays = {
        "batches": draw.normal(0.5, 2, (steps, batch, 3, 6, 6)).astype(np.float32),
        "targets": draw.normal(size=(steps, batch, 2)).astype(np.float32),
        "conv": draw.normal(0, 0.3, (5, 3, 3, 3)).astype(np.float32),
        "dense": draw.normal(0, 0.5, (2, 5)).astype(np.float32),
    }
    for name in ("bn1", "bn2"):
        arrays |= {f"{name}.{key}": np.zeros(5, np.float32) for key in ("beta", "mean")}
        arrays |= {f"{name}.{key}": np.ones(5, np.float32) for key in ("gamma", "var")}
    return arrays


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """With a folder for each framework that is installed, in which it has trained."""
    made = tmp_path_factory.mktemp("trained")
    for framework in FRAMEWORKS:
        if importlib.util.find_spec(framework) is not None:
            (made / framework).mkdir()
            np.savez(made / framework / "given.npz", **given())
            paths = (made / framework / name for name in ("given.npz", "found.npz"))
            run("training_elsewhere.py", framework, *paths)
    return made


@pytest.fixture(scope="module")
def gone_on(folder):
    """A function: where our layers end in a host, having begun in a framework."""
    hosts = set()

    def end(host, framework):
        need(framework, *(("keras", "tensorflow") if host == "keras" else (host,)))
        if host not in hosts:
            env = {"KERAS_BACKEND": "tensorflow", "JAX_PLATFORMS": "cpu"}
            run("going_on.py", host, folder, *(path.name for path in folder.iterdir()), **env)
            hosts.add(host)
        return np.load(folder / framework / f"{host}.npz")

    return end


def elsewhere(folder, framework):
    """Weights by when and name, and how far one ulp of the batches takes the statistics."""
    need(framework)
    found = {"middle": {}, "end": {}, "nudged": {}}
    for key, value in np.load(folder / framework / "found.npz").items():
        when, _, name = key.partition("/")
        found[when][name] = value
    one_ulp = apart(found["nudged"], found["end"])
    assert 0 < one_ulp < 1e-4
    return found, one_ulp


def apart(one, other):
    """The largest difference of running statistics, relative to the largest value of each."""
    names = [name for name in one if name.endswith(("mean", "var"))]
    assert len(names) == 4
    return max(np.abs(one[n] - other[n]).max() / np.abs(other[n]).max() for n in names)


def in_torch(semantics, weights, net=torch_net.Net):
    rest = slice(training_elsewhere.FIRST, None)
    batches = (given()["batches"][rest], given()["targets"][rest])
    return torch_net.trained(port(net(), semantics), weights, *batches)


@pytest.mark.parametrize("net", [torch_net.Net, torch_net.NetOfDerived])
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_in_torch(framework, net, folder):
    found, one_ulp = elsewhere(folder, framework)
    assert apart(in_torch(framework, found["middle"], net), found["end"]) <= 10 * one_ulp


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("host", ["keras", "jax"])
def test_in_keras_3_and_jax(host, framework, folder, gone_on):
    found, one_ulp = elsewhere(folder, framework)
    assert apart(gone_on(host, framework), found["end"]) <= 10 * one_ulp


@pytest.mark.parametrize("other", ["torch", "keras", "tf_keras"])
@pytest.mark.parametrize("framework", ["keras", "tf_keras", "torch"])
def test_by_the_rules_of_another_it_would_end_elsewhere(framework, other, folder):
    """So the tests above can fail. What Keras 2 fuses, it averages as torch; bn2 isn't fused."""
    found, one_ulp = elsewhere(folder, framework)
    if framework != other:
        for net in (torch_net.Net, torch_net.NetOfDerived):
            assert apart(in_torch(other, found["middle"], net), found["end"]) > 100 * one_ulp
