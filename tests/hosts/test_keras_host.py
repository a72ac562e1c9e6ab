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
