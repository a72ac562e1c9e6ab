"""Every cause put into every pair of dialects: named, on its layer, and nothing else on top.

The table of what is named is that of `docs/diagnose.md`; what can't be put into a port says why.
"""

import itertools
from pathlib import Path

import numpy as np
import pytest

import batchnorm as bn
from batchnorm.diagnose import diagnose

DIALECTS = ("torch", "mindspore", "tf_keras", "keras")
PAIRS = list(itertools.product(DIALECTS, DIALECTS))
KERAS = ("tf_keras", "keras")
X = np.random.default_rng(5).normal(0.3, 1.4, (8, 6, 6, 6)).astype(np.float32)


def layer(dialect, seed=0, *, epsilon=1e-5, factor=0.1, axis=1, shape=X.shape, values=True, **more):
    draw, module = np.random.default_rng(seed), getattr(bn, dialect)
    if dialect in KERAS:
        made = module.BatchNormalization(axis=axis, momentum=1 - factor, epsilon=epsilon, **more)
        made.build((None, *shape[1:]))
    else:
        momentum = factor if dialect == "torch" else 1 - factor
        made = module.BatchNorm2d(shape[1], epsilon, momentum, **more)
        made.training = True
    state = made.state
    drawn = {"running_mean": draw.normal(0.1, 0.6, 6), "running_var": draw.uniform(0.3, 2, 6),
             "gamma": np.linspace(0.5, 1.7, 6), "beta": np.linspace(-0.7, 0.4, 6)}  # fmt: skip
    for name in state if values else ():
        role = made.STATE[name].role
        if role in drawn:
            state[name] = np.float32(drawn[role])
    made.load_state(state)
    return made


def named(made, role):
    return next(name for name, entry in made.STATE.items() if entry.role == role)


def with_state(made, **values):
    state = made.state
    for role, value in values.items():
        state[named(made, role)] = np.float32(value)
    made.load_state(state)
    return made


def value(made, role):
    return made.state[named(made, role)]


def derived(made, **methods):
    """The same layer, whose class does something else."""
    made.__class__ = type("Odd", (type(made),), methods)
    return made


def keeps(self, *args, **kwargs):
    """An update that is dropped."""
    before = self.state
    y = type(self).__mro__[1].__call__(self, *args, **kwargs)
    self.load_state(before)
    return y


def twice(self, *args, **kwargs):
    type(self).__mro__[1].__call__(self, *args, **kwargs)
    return type(self).__mro__[1].__call__(self, *args, **kwargs)


def other_denominator(self, x, *args, **kwargs):
    old = value(self, "running_var").astype(np.float64)
    y = type(self).__mro__[1].__call__(self, x, *args, **kwargs)
    new = value(self, "running_var").astype(np.float64)
    n = x.size / x.shape[1]
    entered = (new - 0.9 * old) / 0.1
    factor = n / (n - 1) if self.__class__.__mro__[1].__module__.find("keras3") > 0 else (n - 1) / n
    if not np.array_equal(old, new):
        with_state(self, running_var=0.9 * old + 0.1 * entered * factor)
    return y


def frozen_gradient(self, dy):
    type(self).__mro__[1].backward(self, dy)  # for gamma and beta
    std = np.sqrt(X.var((0, 2, 3), keepdims=True) + 1e-5)
    return (dy * value(self, "gamma").reshape(1, -1, 1, 1) / std).astype(np.float32)


def halved(self, dy):
    dx = type(self).__mro__[1].backward(self, dy)
    self.gradients = {name: g / 2 for name, g in self.gradients.items()}
    return dx / 2


def is_running(dialect):
    """A port that normalizes by running statistics in training."""
    if dialect in KERAS:
        return layer(dialect, trainable=False)
    if dialect == "mindspore":
        return layer(dialect, use_batch_statistics=False)
    return derived(layer(dialect), training=property(lambda self: False, lambda self, v: None))


def swapped(dialect, a, b):
    made = layer(dialect)
    return with_state(made, **{a: value(made, b), b: value(made, a)})


def without_affine(dialect):
    if dialect == "mindspore":
        return None
    if dialect == "torch":
        made = layer(dialect, affine=False)
    else:
        made = layer(dialect, scale=False, center=False)
    return made


def permuted(dialect):
    made = layer(dialect)
    order = [3, 0, 5, 1, 4, 2]
    roles = ("gamma", "beta", "running_mean", "running_var")
    return with_state(made, **{role: value(made, role)[order] for role in roles})


def changed(dialect, role, change):
    made = layer(dialect)
    return with_state(made, **{role: change(value(made, role))})


ONES, ZEROS = np.ones(6), np.zeros(6)
POSITIVE = "the mean is negative in places, so the swapped layer gives NaN"
FAULTS = {
    "momentum-inverted": lambda d: layer(d, factor=0.9),
    "momentum-differs": lambda d: layer(d, factor=0.003),
    "epsilon-differs": lambda d: layer(d, epsilon=1e-3),
    "statistics-not-loaded": lambda d: with_state(layer(d), running_mean=ZEROS, running_var=ONES),
    "affine-not-loaded": lambda d: with_state(layer(d), gamma=ONES, beta=ZEROS),
    "mean-variance-swapped": lambda d: swapped(d, "running_mean", "running_var"),
    "gamma-beta-swapped": lambda d: swapped(d, "gamma", "beta"),
    "channels-permuted": permuted,
    "variance-shifted": lambda d: changed(d, "running_var", lambda v: v + 1e-5 * 100),
    "variance-is-std": lambda d: changed(d, "running_var", np.sqrt),
    "mode-differs": is_running,
    "not-updated": lambda d: derived(layer(d), __call__=keeps),
    "updated-twice": lambda d: derived(layer(d), __call__=twice),
    "axis-differs": lambda d: layer(d, axis=-1) if d in KERAS else None,
    "affine-missing": without_affine,
    "denominator-differs": lambda d: derived(layer(d), __call__=other_denominator),
    "gradient-differs": lambda d: derived(layer(d), backward=frozen_gradient),
}
NOT_APPLICABLE = {
    "axis-differs": "only Keras has an axis",
    "affine-missing": "MindSpore's layer always has gamma and beta",
    "denominator-differs": "what enters is what the source's dialect takes: then nothing differs",
}


def biased(dialect):
    return dialect == "keras"


def applies(cause, source, port):
    if cause == "denominator-differs":
        return biased(source) == biased(port)
    return FAULTS[cause](port) is not None


def diagnosed(source, port, axis=False):
    return diagnose(source, port, X, source_batch=X if axis else None)


@pytest.mark.parametrize("cause", FAULTS)
@pytest.mark.parametrize(("source", "port"), PAIRS)
def test_each_cause_is_named_alone(source, port, cause):
    if not applies(cause, source, port):
        assert cause in NOT_APPLICABLE
        return
    report = diagnosed(layer(source), FAULTS[cause](port), axis=cause == "axis-differs")
    assert set(report.causes) == {cause}, f"{report}"
    assert report.findings[0].layers == [""]


PAIRED = [
    ("epsilon-differs", "momentum-inverted"),
    ("variance-shifted", "momentum-inverted"),
    ("gamma-beta-swapped", "statistics-not-loaded"),
    ("statistics-not-loaded", "epsilon-differs"),
    ("affine-not-loaded", "not-updated"),
    ("variance-is-std", "gradient-differs"),
    ("affine-not-loaded", "updated-twice"),
]
PREPARED = {
    "epsilon-differs": {"epsilon": 1e-3},
    "momentum-inverted": {"factor": 0.9},
}


def both(one, other, dialect):
    options = {**PREPARED.get(one, {}), **PREPARED.get(other, {})}
    made = layer(dialect, **options)
    for cause in (one, other):
        if cause in PREPARED:
            continue
        faulty = FAULTS[cause](dialect)
        if type(faulty) is not type(made):
            made.__class__ = type(faulty)
        clean, state = layer(dialect).state, made.state
        for name, v in faulty.state.items():
            if not np.array_equal(v, clean[name]):
                state[name] = v
        made.load_state(state)
    return made


@pytest.mark.parametrize(("one", "other"), PAIRED)
@pytest.mark.parametrize(("source", "port"), PAIRS)
def test_two_causes_of_one_layer_are_both_named(source, port, one, other):
    report = diagnosed(layer(source), both(one, other, port))
    assert set(report.causes) == {one, other}, f"{report}"


@pytest.mark.parametrize(("source", "port"), PAIRS)
def test_exchanged_twins_are_named(source, port):
    sources = [layer(source, 1), layer(source, 2)]
    ports = [layer(port, 2), layer(port, 1)]
    with_state(ports[0], gamma=ONES * 2), with_state(sources[1], gamma=ONES * 2)
    report = diagnose(sources, ports, X)
    assert report.causes == ["wrong-layer"], f"{report}"
    assert report.findings[0].layers == ["0", "1"]


@pytest.mark.parametrize(("source", "port"), PAIRS)
def test_a_faultless_port_has_no_finding(source, port):
    report = diagnosed(layer(source), layer(port))
    assert report.exit_code == 0, f"{report}"
    assert bool(report.notes) == (biased(source) != biased(port))


def test_what_predicts_the_same_is_listed_beside_it():
    """At this factor an inverted momentum and two updates move the statistics alike."""
    f = (3 - 5**0.5) / 2
    report = diagnosed(layer("torch", factor=f), layer("mindspore", factor=1 - f))
    [finding] = report.findings
    said = {finding.cause, finding.runner_up.partition(" ")[0]}
    assert said == {"momentum-inverted", "updated-twice"}


def test_a_layer_that_stands_in_another_mode_is_named():
    port = layer("mindspore")
    port.training = False
    report = diagnosed(layer("torch"), port)
    assert report.causes == ["mode-differs"]
    assert report.findings[0].fix == "model.set_train(True)"


def test_gamma_that_is_frozen_is_named():
    report = diagnosed(layer("torch"), layer("mindspore", affine=False))
    assert set(report.causes) == {"gradient-differs"}


def test_a_constant_factor_of_the_gradient_is_named():
    report = diagnosed(layer("torch"), derived(layer("keras"), backward=halved))
    assert set(report.causes) == {"gradient-differs"}
    assert {f.evidence["times"] for f in report.findings} == {0.5}


def test_the_fix_is_in_the_ports_words():
    report = diagnosed(layer("torch"), layer("keras", factor=0.9, epsilon=1e-3))
    assert {f.fix for f in report.findings} == {"momentum=0.9", "epsilon=1e-05"}
    report = diagnosed(layer("keras"), layer("torch", factor=0.9))
    assert [f.fix for f in report.findings] == ["momentum=0.1"]


def test_sixteen_bits_are_named():
    with_half = layer("keras", dtype="float16")
    report = diagnosed(layer("keras"), with_half)
    assert set(report.causes) == {"precision-differs"}, f"{report}"


def table():
    """Of the table in docs/diagnose.md: in how many pairs a cause is named, and why not in all."""
    for cause in FAULTS:
        count = sum(applies(cause, *pair) for pair in PAIRS)
        why = f"{16 - count}: {NOT_APPLICABLE[cause]}" if count < 16 else ""
        yield f"| `{cause}` | {count} | {why} |"
    yield "| `wrong-layer` | 16 |  |"


def test_the_documented_table_is_what_is_tested():
    document = Path(__file__).parents[2] / "docs" / "diagnose.md"
    assert "\n".join(table()) in document.read_text(encoding="utf-8")
