"""MindCV's own ResNet-18: save a fresh one as template, load a converted one, infer.

`python FILE template PATH`, `python FILE load PATH DATA RESULTS`.
"""

import sys

import mindspore as ms
import numpy as np
from mindcv.models.resnet import resnet18

# As a graph: eagerly, `out += identity` of MindSpore 2.10 fails with NumPy 2.
ms.set_context(mode=ms.GRAPH_MODE)
net = resnet18(num_classes=10)
if sys.argv[1] == "template":
    ms.save_checkpoint(net, sys.argv[2])
else:
    left = ms.load_param_into_net(net, ms.load_checkpoint(sys.argv[2]))
    if any(left):
        raise SystemExit(f"left over: {left}")
    net.set_train(False)
    x = np.load(sys.argv[3])["x"]
    np.savez(sys.argv[4], logits=net(ms.Tensor(x)).asnumpy())
