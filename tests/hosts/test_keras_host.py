"""The Keras 3 host, one process per backend: keras_cases.py."""

import pytest
from subprocesses import need, run_cases


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_every_dialect_computes_in_keras_as_its_numpy_layer(backend):
    need("keras", backend)
    run_cases("keras_cases.py", KERAS_BACKEND=backend)


def test_replicas_of_tensorflow_share_statistics_where_the_dialect_says_so():
    need("keras", "tensorflow")
    run_cases("keras_replica_cases.py", KERAS_BACKEND="tensorflow")


def test_training_goes_on_elsewhere_by_the_rules_of_keras_2():
    need("keras", "tensorflow", "tf_keras", "jax")
    run_cases("continuation_cases.py", KERAS_BACKEND="tensorflow", JAX_PLATFORMS="cpu")
