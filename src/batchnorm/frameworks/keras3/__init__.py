"""Keras 3's room."""

from batchnorm.frameworks.framework import Framework

__all__ = ["RECORDS"]

RECORDS = (
    Framework(
        name="keras",
        title="Keras 3",
        versioned="Keras {}",
        version="3.15.1",
        package=__name__,
        real_package="keras",
        layer="keras.layers.BatchNormalization",
        prefix="keras.layers.",
        namespace="keras",
        aliases=("keras3",),
        places=("keras.layers",),
        is_keras=True,
    ),
)
