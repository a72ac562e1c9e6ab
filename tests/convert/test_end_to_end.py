"""Three nets, written for torch, MindSpore and Keras, carried over in all six directions.

Each framework saves a net with random statistics; we convert; the other framework opens the file,
infers and takes one more training step. Only the layer names below are known to the test; how
arrays are brought together for the comparison is written here a second time, on purpose.
"""

import itertools
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from real_frameworks import run_jobs

import batchnorm as bn

NETS = ("resnet18", "mobilenetv3", "vgg")
FRAMEWORKS = ("torch", "mindspore", "keras")
SOURCES = (*FRAMEWORKS, "tf_keras")
KERAS = {"keras", "tf_keras"}
DIRECTIONS = [
    *itertools.permutations(FRAMEWORKS, 2), ("tf_keras", "torch"), ("tf_keras", "mindspore"),
]  # fmt: skip
SUFFIX = {"torch": ".pth", "mindspore": ".ckpt", "keras": ".keras", "tf_keras": ".h5"}
SHAPES = {"resnet18": (6, 3, 32, 32), "mobilenetv3": (6, 3, 16, 16), "vgg": (6, 3, 16, 12)}
CLASSES = {"resnet18": 7, "mobilenetv3": 5, "vgg": 6}
FLATTEN = [8, 4, 3]
# What is built in each framework: MobileNetV3 with the paper's 1e-3 and 0.99, others by default.
SETTINGS = {
    "torch": {"mobilenetv3": {"eps": 1e-3, "momentum": 0.01}},
    "mindspore": {"mobilenetv3": {"eps": 1e-3, "momentum": 0.99}},
    "keras": {"mobilenetv3": {"epsilon": 1e-3, "momentum": 0.99}, "vgg": {"momentum": 0.97}},
}
SETTINGS["tf_keras"] = SETTINGS["keras"]
# `norm` and `blocks.0.norm3` are of one width, and only listing order tells which is which.
ORDERED = {"mobilenetv3"}
# Whose names differ, so that a template is needed; Keras always needs one.
RENAMED = {"resnet18"}


@dataclass
class World:
    folder: Path
    reports: dict

    def source(self, framework, net):
        return self.folder / f"{net}-{framework}{SUFFIX[framework]}"

    def template(self, framework, net):
        suffix = SUFFIX.get(framework, ".keras")
        return self.folder / f"{net}-{framework}-template{suffix}"

    def target(self, a, b, net):
        return self.folder / f"{net}-{a}-to-{b}{SUFFIX[b]}"

    def results(self, name):
        with np.load(self.folder / f"{name}.npz") as found:
            return dict(found)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nets")
    made = World(folder, {})
    random = np.random.default_rng(0)
    for net in NETS:
        x = random.normal(0, 1, SHAPES[net]).astype(np.float32)
        dy = random.normal(0, 1, (SHAPES[net][0], CLASSES[net])).astype(np.float32)
        ulp = np.nextafter(x, np.float32(np.inf))
        np.savez(folder / f"{net}-data.npz", x=x, dy=dy, x_ulp=ulp)
    for framework in SOURCES:
        jobs = []
        for net in NETS:
            if framework == "tf_keras":
                weights = made.source(framework, net).with_suffix(".weights.h5")
                jobs.append({
                    "net": net, "settings": SETTINGS[framework].get(net, {}), "seed": 1,
                    "save": f"{made.source(framework, net)} {weights}", "ulp": True,
                    "data": str(folder / f"{net}-data.npz"),
                    "results": str(folder / f"{net}-{framework}.npz"),
                })  # fmt: skip
                continue
            base = {"net": net, "settings": SETTINGS[framework].get(net, {}), "seed": 1}
            jobs.append({**base, "save": str(made.template(framework, net)), "seed": 2})
            jobs.append({
                **base, "save": str(made.source(framework, net)), "ulp": True,
                "data": str(folder / f"{net}-data.npz"),
                "results": str(folder / f"{net}-{framework}.npz"),
            })  # fmt: skip
            for a in ("torch", "mindspore") if framework == "keras" else ():
                jobs.append({
                    "net": net, "settings": words_for_keras(a, net), "seed": 2,
                    "save": str(made.template(f"keras-for-{a}", net)),
                })  # fmt: skip
        run_jobs(framework, jobs, folder)
    for a, b in DIRECTIONS:
        for net in NETS:
            made.reports[a, b, net] = converted(made, a, b, net)
    for b in FRAMEWORKS:
        jobs = []
        for a in SOURCES:
            for net in NETS:
                if (a, b) not in DIRECTIONS:
                    continue
                words = list(made.reports[a, b, net].settings.values())
                default = {"keras": {"epsilon": 1e-5, "momentum": 0.9}}
                settings = words[0] if words else default.get(b, {})
                jobs.append({
                    "net": net, "settings": settings, "seed": 3,
                    "load": str(made.target(a, b, net)),
                    "data": str(folder / f"{net}-data.npz"),
                    "results": str(folder / f"{net}-{a}-to-{b}.npz"),
                })  # fmt: skip
        run_jobs(b, jobs, folder)
    return made


def converted(world, a, b, net):
    settings = SETTINGS[a].get(net) if a not in KERAS else None  # Keras' config says its own
    flatten = None
    if net == "vgg" and KERAS & {a, b}:
        flatten = {"layers": {"hidden": {"flatten": FLATTEN}}}
    like = None
    if KERAS & {a, b} or net in RENAMED:
        like = world.template(b, net)
    if b == "keras":  # .keras holds the settings in its config, so the template must be built so
        like = world.template(f"keras-for-{a}", net)
    done = bn.convert(
        world.source(a, net), world.target(a, b, net), like=like, map=flatten, settings=settings,
        assume_order=net in ORDERED,
    )  # fmt: skip
    assert done.report.exit_code == 0, done.report.as_json()
    assert done.report.written
    return done.report


def words_for_keras(a, net):
    """The settings that a template must be built with: a .keras file holds its own."""
    settings = SETTINGS[a].get(net, {})
    momentum = settings.get("momentum", {"torch": 0.1}.get(a, 0.9))
    keep = round(1 - momentum, 10) if a == "torch" else momentum
    return {"epsilon": settings.get("eps", 1e-5), "momentum": keep}


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize(("a", "b"), DIRECTIONS)
def test_logits_agree_within_1e_5_of_the_largest(world, a, b, net):
    own, other = (world.results(n)["logits"] for n in (f"{net}-{a}", f"{net}-{a}-to-{b}"))
    assert np.isfinite(own).all()
    assert np.abs(own).max() > 0.1
    assert np.abs(own - other).max() <= 1e-5 * np.abs(own).max()


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize(("a", "b"), DIRECTIONS)
def test_the_way_back_is_bit_exact(world, a, b, net, tmp_path):
    source, back = world.source(a, net), tmp_path / f"back{SUFFIX[a]}"
    like = source if a in KERAS else None
    target, ordered = world.target(a, b, net), net in ORDERED
    report = bn.convert(target, back, like=like, assume_order=ordered).report
    assert report.exit_code == 0, report.as_json()
    with bn.checkpoints.read(source) as own, bn.checkpoints.read(back) as other:
        assert set(own) == set(other)
        for name in own:
            x, y = own[name].load(), other[name].load()
            assert (x.dtype, x.shape, x.tobytes()) == (y.dtype, y.shape, y.tobytes()), name
    own, other = (bn.inspect(path, settings=None).layers for path in (source, back))
    if a in KERAS:
        assert [layer.settings for layer in own] == [layer.settings for layer in other]


@pytest.mark.parametrize("net", NETS)
def test_weights_of_keras_2_without_any_name_give_the_same_as_its_h5(world, net, tmp_path):
    source = world.source("tf_keras", net).with_suffix(".weights.h5")
    flatten = {"layers": {"dense": {"flatten": FLATTEN}}} if net == "vgg" else None
    like, target = world.template("torch", net), tmp_path / "b.pth"
    if net == "resnet18":  # Keras lists a shortcut before what it goes round, torch after it
        right_way = world.target("tf_keras", "torch", net)
        with bn.checkpoints.read(source) as given, bn.checkpoints.read(right_way) as right:
            done = bn.convert(given, target, like=like)
            assert done.report.exit_code == 1
            assert not target.exists()
            assert "lists its layers by class" in " ".join(done.report.problems)
            carried = [n for n in done.entries if not n.endswith("tracked")]
            assert all(np.array_equal(done.entries[n].load(), right[n].load()) for n in carried)
            assert "conv1.weight" in carried
        return
    done = bn.convert(source, target, like=like, map=flatten, assume_order=net in ORDERED)
    assert done.report.exit_code == 0, done.report.as_json()
    other = world.target("tf_keras", "torch", net)
    with bn.checkpoints.read(target) as a, bn.checkpoints.read(other) as b:
        assert list(a) == list(b)
        assert all(np.array_equal(a[n].load(), b[n].load()) for n in a)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize(("a", "b"), DIRECTIONS)
def test_one_more_training_step_differs_by_at_most_ten_one_ulp_changes(world, a, b, net):
    own, other = world.results(f"{net}-{a}"), world.results(f"{net}-{a}-to-{b}")
    for kind in ("outputs", "gradients", "buffers"):
        mine = canonical(own, "x", kind, a, net)
        moved = canonical(own, "x_ulp", kind, a, net)
        theirs = canonical(other, "x", kind, b, net)
        assert set(mine) == set(theirs)
        if kind == "buffers":
            theirs = with_denominator_of(a, b, theirs, world, net)
        floor = 1e-3 * max(np.abs(v).max() for v in mine.values())

        def apart(found, mine=mine, floor=floor):
            return max(
                np.abs(found[n] - mine[n]).max() / max(np.abs(mine[n]).max(), floor) for n in mine
            )

        assert apart(theirs) <= 10 * apart(moved), kind


def canonical(results, run, kind, framework, net):
    """Arrays by torch's names and in torch's layout."""
    start = f"{run}|{kind}|"
    names = [n for n in results if n.startswith(start)]
    found = {}
    counts = {}
    for name in names:
        short = name.removeprefix(start)
        value = results[name].astype(np.float64)
        if short.endswith("num_batches_tracked"):
            continue
        if framework in KERAS:
            layer, _, leaf = short.rpartition("/")
            leaf = leaf.removeprefix("depthwise_")  # Keras 2 calls it depthwise_kernel
            if leaf == "kernel" and value.ndim == 4:
                depthwise = layer.startswith("depthwise")
                value = value.transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1))
            elif leaf == "kernel" and layer == "hidden" and net == "vgg":
                c, h, w = FLATTEN
                value = value.reshape(h, w, c, -1).transpose(3, 2, 0, 1).reshape(-1, c * h * w)
            elif leaf == "kernel":
                value = value.T
            short = f"{layer}/{leaf}"
        leaf = re.split(r"[./]", short)[-1]
        leaf = {"kernel": "weight", "gamma": "weight", "beta": "bias"}.get(leaf, leaf)
        leaf = {"moving_mean": "running_mean", "moving_variance": "running_var"}.get(leaf, leaf)
        layer = re.sub(r"[._/]", "", short[: -len(re.split(r"[./]", short)[-1])])
        layer = {"classifier": "fc", "predictions": "fc"}.get(layer, layer)
        if net == "mobilenetv3":  # Keras counts its layers, so the order tells them apart
            order = "norm" if "running" in leaf or value.ndim == 1 else "kernel"
            index = counts.get((leaf, order, value.shape), 0)
            counts[leaf, order, value.shape] = index + 1
            layer = f"{order}{value.shape}{index}"
        found[f"{layer}.{leaf}"] = value
    return found


def with_denominator_of(a, b, buffers, world, net):
    """The other's running variances as if it divided by what the source divides by."""
    if "keras" not in (a, b):  # Keras 2 divides by n - 1 here, as its kernel is fused
        return buffers
    old = canonical(before(world, a, net), "x", "buffers", a, net)
    keep = SETTINGS[a].get(net, {}).get("momentum")
    keep = 0.9 if keep is None and a != "keras" else (0.99 if keep is None else keep)
    if a == "torch" and net in SETTINGS["torch"]:
        keep = 1 - SETTINGS["torch"][net]["momentum"]
    found = dict(buffers)
    for name, value in buffers.items():
        if not name.endswith("running_var"):
            continue
        n = values_per_channel(net, name)
        batch = value - keep * old[name]
        factor = n / (n - 1) if b == "keras" else (n - 1) / n
        found[name] = keep * old[name] + batch * factor
    return found


def before(world, framework, net):
    """The buffers before the step, as the source's file holds them."""
    with bn.checkpoints.read(world.source(framework, net)) as checkpoint:
        names = [n for n in checkpoint if re.search(r"(running|moving)_(mean|var)", n)]
        return {f"x|buffers|{n}": checkpoint[n].load() for n in names}


def values_per_channel(net, name):
    samples = SHAPES[net][0]
    if net == "resnet18":
        layer = re.match(r"layer(\d)", name)
        side = 16 if layer is None else (8, 4, 2, 1)[int(layer[1]) - 1]
        return samples * side * side
    if net == "vgg":
        return samples * (16 * 12 if name.startswith("features1.") else 8 * 6)
    # MobileNetV3: 8x8 until the second block's depthwise layer, 4x4 from there on.
    shape, index = re.match(r"norm\((\d+),\)(\d+)", name).groups()
    large = {"8": 99, "16": 99, "24": 1, "12": 0}[shape]
    return samples * (64 if int(index) < large else 16)
