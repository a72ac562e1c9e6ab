"""Keras 3's room."""

from batchnorm.frameworks.arithmetic import Arithmetic
from batchnorm.frameworks.calls import Calls
from batchnorm.frameworks.framework import Framework
from batchnorm.frameworks.keras import CALLS, FACETS

__all__ = ["RECORDS"]

RECORDS = (
    Framework(
        name="keras",
        title="Keras 3",
        versioned="Keras {}",
        version="3.15.1",
        package=__name__,
        facets=FACETS,
        real_package="keras",
        layer="keras.layers.BatchNormalization",
        prefix="keras.layers.",
        namespace="keras",
        aliases=("keras3",),
        places=("keras.layers",),
        arithmetic=Arithmetic(
            casts_integers=False,
            one_pass=("keras/torch",),  # keras/src/backend/torch/nn.py, moments
        ),
        calls=Calls(
            **CALLS,
            synchronized_limits=(
                "synchronized=True raises ValueError on Keras 3's torch and jax backends",
                "run Keras on its tensorflow backend",
            ),
            converts=True,
            many_axes=False,
            variable="{layer}/{name}",
        ),
        backends=("keras/torch", "keras/jax"),
        is_keras=True,
    ),
)
