"""A real framework in a process of its own, asked for the values of Python expressions.

Run as a script with the framework's name; a line of JSON (a list of expressions) comes in, a line
of JSON (their outcomes) goes out. The same expressions are evaluated on our side with names of the
same meaning (conftest.py).
"""

import contextlib
import json
import os
import sys
import warnings

import ml_dtypes
import numpy as np


def outcome(expression, names):
    """The value of an expression, or the built-in class of its exception."""
    try:
        value = eval(expression, dict(names))
    except Exception as error:
        builtin = next(c.__name__ for c in type(error).__mro__ if c.__module__ == "builtins")
        # A framework's own exception is ValueError here, where it has no built-in class.
        return {"error": "ValueError" if builtin == "Exception" else builtin, "text": str(error)}
    return {"value": json.loads(json.dumps(value, default=str))}


def subclasses(module, base):
    """The names that a module has for a class and its subclasses."""
    found = vars(module).items()
    return [name for name, cls in found if isinstance(cls, type) and issubclass(cls, base)]


def moments(values):
    values = np.asarray(values, np.float64)
    return [float(f(values)) for f in (np.min, np.max, np.mean, np.std)]


def two(shape, dtype=None):
    return np.full(shape, 2.0)


class Custom:
    """An object of the user's own with a configuration."""

    __module__ = "somewhere"

    def __call__(self, shape, dtype=None):
        return np.ones(shape)

    def get_config(self):
        return {"a": 1, "b": np.float32(0.1), "c": np.arange(2), "d": (1, [2.5]), "e": {"f": None}}


class Local(Custom):
    """One of the program that runs: its module can't be imported elsewhere."""

    __module__ = "__main__"


class Plain:
    """An object of the user's own without one."""

    __module__ = "somewhere"

    def __call__(self, shape, dtype=None):
        return np.ones(shape)


class Uncallable:
    __module__ = "somewhere"


COMMON = {
    "np": np,
    "ml_dtypes": ml_dtypes,
    "two": two,
    "Custom": Custom,
    "Local": Local,
    "Plain": Plain,
    "Uncallable": Uncallable,
}


def keras_names(framework):
    if framework == "tf_keras":
        import tensorflow as tf
        import tf_keras as keras
        from tf_keras.src import constraints, initializers, regularizers

        policy_class, tensor = keras.mixed_precision.Policy, tf.constant
        initializers.get("zeros")  # fills the table
        names = {
            "initializer": initializers.LOCAL.ALL_OBJECTS,
            "regularizer": {"l1_l2", *subclasses(regularizers, regularizers.Regularizer)},
            "constraint": subclasses(constraints, constraints.Constraint),
        }
    else:
        os.environ["KERAS_BACKEND"] = "tensorflow"
        import keras
        import tensorflow as tf
        from keras.src import constraints, initializers, regularizers

        policy_class, tensor = keras.DTypePolicy, keras.ops.convert_to_tensor
        names = {
            "initializer": initializers.ALL_OBJECTS_DICT,
            "regularizer": regularizers.ALL_OBJECTS_DICT,
            "constraint": constraints.ALL_OBJECTS_DICT,
        }

    def layer(**arguments):
        return keras.layers.BatchNormalization(**arguments)

    def config(key):
        return lambda x: layer(**{key: x}).get_config()[key]

    def policy(x):
        made = layer(dtype=x)
        found = made.dtype_policy
        return [made.get_config()["dtype"], found.name, found.compute_dtype, found.variable_dtype]

    def first(x, dtype=None, channels=3):
        made = layer(gamma_initializer=x, dtype=dtype)
        made.build((None, channels))
        values = np.asarray(made.gamma.numpy())
        return [values.dtype.name, values.tolist()]

    def penalty(regularizer, x, dtype="float32"):
        return float(regularizer(tensor(x, dtype=dtype)))

    def slope(regularizer, x):
        x = tf.constant(x, dtype="float32")
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = regularizer(x)
        return tape.gradient(value, x).numpy().tolist()

    def project(constraint, w, dtype="float32"):
        values = constraint(tensor(w, dtype=dtype)).numpy()
        return [values.dtype.name, values.astype(np.float64).tolist()]

    class Sub(keras.regularizers.L2):
        __module__ = "somewhere"

    class Penalty(keras.regularizers.Regularizer):
        __module__ = "somewhere"

        def __call__(self, x):
            return 0.5

    return {
        "names": lambda kind: sorted(names[kind]),
        "I": keras.initializers,
        "R": keras.regularizers,
        "C": keras.constraints,
        "P": policy_class,
        "initializer": config("gamma_initializer"),
        "regularizer": config("gamma_regularizer"),
        "constraint": config("gamma_constraint"),
        "policy": policy,
        "first": first,
        "draw": lambda initializer, shape: moments(initializer(shape)),
        "twice": lambda i: np.array_equal(np.asarray(i((9,))), np.asarray(i((9,)))),
        "matrix": lambda initializer, shape: np.asarray(initializer(shape)).tolist(),
        "penalty": penalty,
        "slope": slope,
        "project": project,
        "Sub": Sub,
        "Penalty": Penalty,
    }


def mindspore_names():
    import mindspore

    with contextlib.suppress(SystemError):  # under NumPy 2.4 the first operation can fail
        mindspore.ops.add(mindspore.Tensor([1.0]), mindspore.Tensor([1.0]))
    np.random.seed(1)

    def first(x, dtype="float32", channels=3):
        """An array stands for a Tensor, which is what MindSpore takes."""
        x = mindspore.Tensor(x) if isinstance(x, np.ndarray) else x
        made = mindspore.nn.BatchNorm2d(channels, gamma_init=x, dtype=getattr(mindspore, dtype))
        values = made.gamma.asnumpy()
        return [values.dtype.name, values.tolist()]

    def raw(x):
        made = mindspore.nn.BatchNorm2d(3, gamma_init=x)
        return made.gamma.asnumpy().tolist()

    def names():
        return sorted(mindspore.common.initializer._INITIALIZER_ALIAS)

    def draw(x):
        return moments(first(x, channels=100000)[1])

    return {"first": first, "raw": raw, "draw": draw, "names": names}


def main(framework):
    warnings.simplefilter("ignore")
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the framework prints is no answer
    names = mindspore_names() if framework == "mindspore" else keras_names(framework)
    for line in sys.stdin:
        found = [outcome(expression, COMMON | names) for expression in json.loads(line)]
        print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
