"""Calls that a type checker must refuse, each line marked with the code of its error.

`tests/test_typing.py` runs mypy on this file, which is never executed.
"""

import numpy as np

import batchnorm as bn

x = np.zeros((4, 3, 2, 2), np.float32)

# An unknown keyword.
bn.torch.BatchNorm2d(3, epsilon=1e-5)  # error: call-arg
bn.torch.BatchNorm2d(3, weight_init="ones")  # error: call-arg
bn.mindspore.BatchNorm2d(3, track_running_stats=True)  # error: call-arg
bn.mindspore.BatchNorm3d(3, data_format="NHWC")  # error: call-arg
bn.mindspore_2_0.BatchNorm2d(3, epsilon=1e-5)  # error: call-arg
bn.tf_keras.BatchNormalization(eps=1e-3)  # error: call-arg
bn.tf_keras.BatchNormalization(renorm_decay=0.9)  # error: call-arg
bn.tf_keras_2_6.BatchNormalization(virtual_batchsize=2)  # error: call-arg
bn.keras.BatchNormalization(fused=True)  # error: call-arg
bn.keras.BatchNormalization(virtual_batch_size=2)  # error: call-arg

# A wrong type.
bn.torch.BatchNorm2d("3")  # error: arg-type
bn.torch.BatchNorm2d(3, eps=None)  # error: arg-type
bn.torch.BatchNorm2d(3, momentum="0.1")  # error: arg-type
bn.mindspore.BatchNorm2d(3, momentum=None)  # error: arg-type
bn.mindspore.BatchNorm2d(3, use_batch_statistics="yes")  # error: arg-type
bn.mindspore.BatchNorm1d(3, gamma_init=None)  # error: arg-type
bn.tf_keras.BatchNormalization(axis="channels")  # error: arg-type
bn.tf_keras.BatchNormalization(fused="always")  # error: arg-type
bn.tf_keras.BatchNormalization(virtual_batch_size=2.5)  # error: arg-type
bn.tf_keras.BatchNormalization(renorm_clipping=3.0)  # error: arg-type
bn.keras.BatchNormalization(axis=[1, 2])  # error: arg-type
bn.keras.BatchNormalization(trainable="no")  # error: arg-type
bn.keras.BatchNormalization(name=3)  # error: arg-type

# A missing argument.
bn.torch.BatchNorm2d()  # error: call-arg
bn.mindspore.BatchNorm2d()  # error: call-arg
bn.torch.BatchNorm2d(3)()  # error: call-arg
bn.mindspore.BatchNorm2d(3)()  # error: call-arg
bn.tf_keras.BatchNormalization()()  # error: call-arg
bn.keras.BatchNormalization().build()  # error: call-arg
bn.torch.BatchNorm2d(3).load_state_dict()  # error: call-arg

# Too many, or one that must be named.
bn.torch.BatchNorm2d(3, 1e-5, 0.1, True, True, None, None, False)  # error: call-arg
bn.torch.BatchNorm2d(3)(x, training=True)  # error: call-arg
bn.mindspore.BatchNorm2d(3)(inputs=x)  # error: call-arg
bn.tf_keras.BatchNormalization()(x=x)  # error: call-arg

# A wrong attribute.
print(bn.torch.BatchNorm2d(3).gamma)  # error: attr-defined
bn.torch.BatchNorm2d(3).set_train()  # error: attr-defined
print(bn.mindspore.BatchNorm2d(3).weight)  # error: attr-defined
bn.mindspore.BatchNorm2d(3).eval()  # error: attr-defined
print(bn.tf_keras.BatchNormalization().running_mean)  # error: attr-defined
bn.keras.BatchNormalization().state_dict()  # error: attr-defined
bn.torch.BatchNorm4d(3)  # error: attr-defined
bn.keras.BatchNorm2d(3)  # error: attr-defined

# A wrong use of a result.
rows: list[float] = bn.torch.BatchNorm2d(3)(x)  # error: assignment
bn.torch.BatchNorm2d(3).train("yes")  # error: arg-type
bn.mindspore.BatchNorm2d(3).set_train(1.0)  # error: arg-type
bn.tf_keras.BatchNormalization().set_weights(3)  # error: arg-type
bn.core.reduce(x)  # error: call-arg
bn.core.forward(x, None, None, None)  # error: call-arg
bn.core.Settings((1,), "batch", 1e-3)  # error: arg-type
