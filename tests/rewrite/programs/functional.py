"""The net of swapped.py as a functional Keras model, still with torch's numbers."""

import keras
from around import data, done, note
from keras import layers

inputs = keras.Input((3, 5, 5))
first = layers.BatchNormalization(axis=1, momentum=0.03)
second = layers.BatchNormalization(1, 0.2, 1e-3)
x = layers.ReLU()(first(inputs))
x = layers.ReLU()(second(x))
outputs = layers.BatchNormalization(axis=1, name="third")(x)
net = keras.Model(inputs, outputs)

for seed in range(4):
    x, _ = data(seed)
    note(f"{seed}", net(x, training=True))
    for key, norm in (("first", first), ("second", second), ("third", net.get_layer("third"))):
        note(f"{seed} {key}", norm.moving_mean, norm.moving_variance)
note("inference", net(x, training=False))
done()
