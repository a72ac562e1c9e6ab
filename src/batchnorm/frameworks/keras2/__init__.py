"""Keras 2's room, the tf.keras of TensorFlow 2: in 2.21 (the package tf_keras) and in 2.6."""

from dataclasses import replace

from batchnorm.frameworks.calls import Calls
from batchnorm.frameworks.framework import Framework
from batchnorm.frameworks.keras import CALLS, FACETS

__all__ = ["RECORDS"]

_KERAS_2 = Framework(
    name="tf_keras",
    title="Keras 2",
    versioned="Keras {} (tf.keras)",
    version="2.21.0",
    package=__name__,
    facets=FACETS,
    real_package="tf_keras",
    layer="tf.keras.layers.BatchNormalization",
    prefix="tf.keras.layers.",
    namespace="tf.keras",
    aliases=("keras2", "tf.keras", "tensorflow.keras", "tensorflow", "tf", "tfkeras"),
    places=("tf.keras.layers", "tensorflow.keras.layers", "tf_keras.layers"),
    lineage="keras",
    calls=Calls(
        **CALLS,
        prefixes=("tf", "tensorflow", "tf_keras"),
        biased="fused=False makes it divide by n too, and slower",
        wide_parameters=True,
        variable="{layer}/{name}:0",
    ),
    is_keras=True,
)
RECORDS = (
    _KERAS_2,
    replace(
        _KERAS_2,
        name="tf_keras@2.6",
        version="2.6.0",
        facets={**FACETS, "layers": f"{__name__}.v2_6"},
        absent=frozenset({"synchronized", "mask"}),  # came later: measured, see v2_6.py
    ),
)
