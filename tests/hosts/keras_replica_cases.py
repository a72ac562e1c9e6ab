"""Run by test_keras: two logical CPUs under MirroredStrategy. The oracle is one joined batch."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import batchnorm as bn
from batchnorm.hosts import keras as host

CPU = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(CPU, [tf.config.LogicalDeviceConfiguration()] * 2)


@pytest.mark.parametrize("make", [bn.keras.BatchNormalization, bn.tf_keras.BatchNormalization])
def test_synchronized_statistics_are_those_of_the_joined_batch(make):
    layer = make(synchronized=True, momentum=0.5)
    random = np.random.default_rng(0)
    x = (random.normal(size=(8, 5, 3)) + 1e3).astype(np.float32)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        own = host.layer(layer)
        own.build(x.shape)

    def part(context):
        return tf.constant(x)[:5] if context.replica_id_in_sync_group == 0 else tf.constant(x)[5:]

    parts = strategy.experimental_distribute_values_from_function(part)

    @tf.function
    def step(x):
        return strategy.run(lambda x: own(x, training=True), args=(x,))

    y = np.concatenate([v.numpy() for v in strategy.experimental_local_results(step(parts))])
    assert np.abs(y - layer(x, training=True)).max() < 1e-4
    for key, value in layer.state.items():
        ours = keras.ops.convert_to_numpy(getattr(own, key).value)
        assert np.abs(ours - value).max() <= 1e-6 * np.abs(value).max(initial=1), key
