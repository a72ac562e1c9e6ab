"""Calls in every dialect that a type checker must let pass, and that run."""

import numpy as np

import batchnorm as bn
from batchnorm.vocabulary import Mode

x = np.zeros((4, 3, 2, 2), np.float32)

torch_layer = bn.torch.BatchNorm2d(3, 1e-5, None, affine=True, dtype="float32", bias=False)
y = torch_layer.train()(input=x)
dx = torch_layer.eval().backward(torch_layer(x))
torch_layer.momentum = 0.5
missing = torch_layer.load_state_dict(torch_layer.state_dict(), strict=False).missing_keys
bn.torch.BatchNorm1d(num_features=3, dtype=np.float64, device="cpu")
bn.torch.BatchNorm3d(3, track_running_stats=False)

mindspore_layer = bn.mindspore.BatchNorm2d(3, gamma_init=2.0, beta_init=np.zeros(3, np.float32))
mindspore_layer.set_train(True)(x=x)
bn.mindspore.BatchNorm1d(3, gamma_init="ones", data_format="NHWC", use_batch_statistics=None)
bn.mindspore.BatchNorm3d(3, 1e-5, 0.9, True, dtype="float16")
left, unused = bn.mindspore.load_param_into_net(mindspore_layer, mindspore_layer.parameters_dict())
bn.mindspore_2_0.BatchNorm2d(3)

tf_keras_layer = bn.tf_keras.BatchNormalization(
    axis=[1, 2],
    gamma_initializer="zeros",
    gamma_regularizer="l2",
    beta_constraint="non_neg",
    renorm=True,
    renorm_clipping={"rmax": 3.0},
    fused=False,
    trainable=True,
    name="bn1",
    dtype="mixed_float16",
)
tf_keras_layer(inputs=x, training=True, mask=None)
tf_keras_layer.set_weights(tf_keras_layer.get_weights())
bn.tf_keras.BatchNormalization(virtual_batch_size=2)
bn.tf_keras.BatchNormalization(adjustment=lambda shape: (2.0, np.zeros(shape)))
bn.tf_keras_2_6.BatchNormalization(epsilon=1e-5)

keras_layer = bn.keras.BatchNormalization(axis=1, renorm=True, name="bn2", dtype="float32")
keras_layer.build((4, 3, 2, 2))
keras_layer(x, training=True)
twin: bn.keras.BatchNormalization = bn.keras.BatchNormalization.from_config(
    keras_layer.get_config()
)
loss: float = sum(tf_keras_layer.losses)

state: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]] = keras_layer.state
keras_layer.load_state(state)

moments = bn.core.merge(bn.core.reduce(x, (1,)), bn.core.reduce(x, axes=(1,)))
settings = bn.core.Settings((1,), Mode.BATCH, 1e-3)
result, running, saved = bn.core.forward(x, None, None, None, settings)
gradient, dgamma, dbeta = bn.core.backward(saved, result)
variance = moments.variance(correction=1)
try:
    bn.torch.BatchNorm2d(-1)
except bn.BatchNormError as error:
    text = str(error)
