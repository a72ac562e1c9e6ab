"""Both sides of a comparison: expressions evaluated by a real framework and by our objects."""

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from framework_worker import COMMON, moments, outcome

from batchnorm.frameworks.keras import constraints, initializers, policies, regularizers
from batchnorm.frameworks.mindspore import initial
from batchnorm.vocabulary import as_dtype

WORKER = Path(__file__).with_name("framework_worker.py")


class Sub(regularizers.L2):
    __module__ = "somewhere"


class Penalty(regularizers.Regularizer):
    __module__ = "somewhere"

    def __call__(self, x):
        return 0.5


def our_names(dialect):
    """What the expressions' names mean on our side; the worker's `keras_names` is the other."""

    def config(module):
        return lambda x: module.serialize(module.get(x, dialect), dialect)

    def policy(x):
        found = policies.get(x, dialect)
        config = policies.serialize(found, dialect)
        return [config, found.name, found.compute_dtype, found.variable_dtype]

    def first(x, dtype=None, channels=3):
        variable = policies.get(dtype, dialect).variable_dtype
        if dialect == "tf_keras" and variable.endswith("float16"):
            variable = "float32"  # the layer's rule, not the initializer's
        rule = initializers.get(x, dialect)
        values = initializers.initial_value(rule, (channels,), variable, dialect)
        return [values.dtype.name, values.tolist()]

    def project(constraint, w, dtype="float32"):
        values = constraint(as_array(w, dtype))
        return [values.dtype.name, values.astype(np.float64).tolist()]

    return COMMON | {
        "I": initializers,
        "R": regularizers,
        "C": constraints,
        "P": lambda name: policies.get(name, dialect),
        "initializer": config(initializers),
        "regularizer": config(regularizers),
        "constraint": config(constraints),
        "policy": policy,
        "first": first,
        "draw": lambda initializer, shape: moments(initializer(shape)),
        "twice": lambda i: np.array_equal(i((9,)), i((9,))),
        "matrix": lambda initializer, shape: initializer(shape).tolist(),
        "penalty": lambda r, x, dtype="float32": r(as_array(x, dtype)),
        "slope": lambda r, x: r.gradient(as_array(x, "float32")).tolist(),
        "project": project,
        "Sub": Sub,
        "Penalty": Penalty,
    }


def our_mindspore_names():
    def first(x, dtype="float32", channels=3):
        values = initial.get(x, (channels,))((channels,), np.dtype(dtype))
        return [values.dtype.name, values.tolist()]

    draw = {"draw": lambda x: moments(first(x, channels=100000)[1])}
    return COMMON | {"first": first, "raw": lambda x: first(x)[1]} | draw


def as_array(values, dtype):
    return np.asarray(values).astype(as_dtype(dtype))


class Comparison:
    """A real framework's worker beside our own names."""

    def __init__(self, framework):
        self.dialect = framework
        self.scope = our_mindspore_names() if framework == "mindspore" else our_names(framework)
        self.worker = subprocess.Popen(
            [sys.executable, str(WORKER), framework],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def real(self, expressions):
        """What the framework says, in the order of the expressions."""
        self.worker.stdin.write(json.dumps(list(expressions)) + "\n")
        self.worker.stdin.flush()
        line = self.worker.stdout.readline()
        if not line:
            pytest.fail(f"the worker of {self.dialect} ended with {self.worker.wait()}")
        return json.loads(line)

    def ours(self, expressions):
        """What our objects say."""
        return [outcome(expression, self.scope) for expression in expressions]

    def names(self, *kind):
        """The names that the framework itself has registered."""
        (found,) = self.real([f"names({', '.join(map(repr, kind))})"])
        return found["value"]

    def both(self, expressions):
        return list(zip(expressions, self.real(expressions), self.ours(expressions), strict=True))

    def differing(self, expressions):
        """The expressions with another value, or another exception class, on our side."""
        return [
            f"{expression}: {self.dialect} {real}, ours {ours}"
            for expression, real, ours in self.both(expressions)
            if essence(real) != essence(ours)
        ]

    def close(self):
        with contextlib.suppress(BrokenPipeError):  # it ended by itself, which a test has said
            self.worker.stdin.close()
        self.worker.wait()
        self.worker.stdout.close()


def essence(found):
    """An outcome without the text of its error; NaN made comparable."""
    return found["error"] if "error" in found else json.dumps(found["value"], sort_keys=True)


@pytest.fixture(scope="session")
def started():
    running = {}

    def start(framework):
        if importlib.util.find_spec(framework) is None:
            if os.environ.get("CI"):
                pytest.fail(f"in CI every framework is there, but {framework} is not installed")
            pytest.skip(f"{framework} is not installed")
        if framework not in running:
            running[framework] = Comparison(framework)
        return running[framework]

    yield start
    for comparison in running.values():
        comparison.close()


@pytest.fixture(params=["tf_keras", "keras"])
def keras(request, started):
    """Keras 2 and Keras 3, each beside our objects."""
    return started(request.param)
