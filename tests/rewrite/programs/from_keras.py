"""Training steps of the batch norms of keras, in the forms that code has them."""

import keras
from around import data, done, note, shown, step
from keras import layers

SETTINGS = {"epsilon": 1e-3, "momentum": 0.97, "axis": 1}
BN = layers.BatchNormalization


class Pair:
    def __init__(self):
        self.one = layers.BatchNormalization(1, 0.8, 1e-4, input_shape=(3, 5, 5))


def work(key, bn: keras.layers.BatchNormalization):
    for seed in range(4):
        x, dy = data(seed)
        found = step(bn, lambda x: bn(x, training=True), x, dy, lambda: [bn.gamma, bn.beta])
        note(f"{key} {seed}", *found)
        note(f"{key} {seed} state", bn.moving_mean, bn.moving_variance, bn.gamma, bn.beta)
    note(f"{key} settings", bn.epsilon, bn.momentum)
    note(f"{key} inference", bn(shown(bn, x), training=False))


work("keywords", layers.BatchNormalization(input_shape=(3, 5, 5), **SETTINGS))
work("alias", BN(axis=1, input_shape=(3, 5, 5)))
work("attribute", Pair().one)
done()
