"""Where architectures of a pair differ in what no file holds, and one made like the other.

A pair that converts and computes otherwise is no wrong conversion if its logits agree once that is
set alike, on the very weights that were converted. Each entry says what differs, as read in the
zoos' sources, and which side is changed how.
"""

from torch import nn
from torch.nn import functional as F

FIRST = "the stride of a bottleneck is in its first convolution in Keras, in its second in mindcv"
MOBILE = ("ReLU6 in Keras, ReLU there; strided convolutions are padded after alone in Keras, on "
          "both sides there")  # fmt: skip
PADS = "Keras pads pools after more than before, the torch net on both sides alike"
POOLS = "average pools leave padding out of the mean in Keras, count it in timm"
# pair -> (what differs, the side that is changed, changes)
DIFFERENCES = {
    ("k3:ResNet50", "ms:resnet50"): (FIRST, 1, ("stride_first",)),
    ("k3:MobileNet", "ms:mobilenet_v1_100"): (MOBILE, 1, ("relu6", "pad_after")),
    ("cv:mobilenet_w1", "k2:MobileNet"): (MOBILE, 0, ("relu6", "pad_after")),
    ("timm:mobilenetv1_100", "k3:MobileNet"): (MOBILE, 0, ("relu6", "pad_after")),
    ("cv:seresnet50", "timm:legacy_seresnet50"): (
        "the pooling of the stem rounds up without padding in timm, pads in pytorchcv",
        0, ("pool_up",),
    ),
    ("k3:Xception", "cv:xception"): (PADS, 1, ("pool_after",)),
    ("timm:legacy_xception", "k3:Xception"): (PADS, 0, ("pool_after",)),
    ("tv:inception_v3", "ms:inception_v3"): (
        "average pools leave padding out of the mean in mindcv, count it in torchvision",
        0, ("uncounted",),
    ),
    ("k3:InceptionV3", "timm:inception_v3"): (POOLS, 1, ("uncounted",)),
    ("timm:inception_v3", "k2:InceptionV3"): (POOLS, 0, ("uncounted",)),
}  # fmt: skip

WIDTH = "the last stage is 384 wide there, 400 in torchvision"
HALVES = "a stage's first branch puts out what it takes there, in torchvision half of the stage"
# pairs that are none, by the shapes of their layers: no weights make their logits equal
OTHERS = {
    ("ms:resnetv2_50", "cv:preresnet50"): "mindcv's shortcuts have batch norms, its end none",
    ("cv:preresnet50", "k3:ResNet50V2"): "pytorchcv's stem has a batch norm, Keras's none",
    ("cv:inceptionv3", "tv:inception_v3"): "an auxiliary head, whose weights only the target has",
    ("tv:googlenet", "ms:googlenet"): "mindcv's has no batch norms, and 5x5 where 3x3 is there",
    ("cv:ghostnet", "timm:ghostnet_100"): "other kernels and gates, a batch norm more",
    ("tv:shufflenet_v2_x1_0", "ms:shufflenet_v2_x1_0"): HALVES,
    ("cv:shufflenetv2b_w1", "tv:shufflenet_v2_x1_0"): HALVES,
    ("ms:regnet_x_400mf", "tv:regnet_x_400mf"): WIDTH,
    ("k2:RegNetX004", "tv:regnet_x_400mf"): WIDTH,
}


def make_alike(net, changes):
    """Change a net of `nets.Torch` or `nets.MindCV`."""
    room = _torch if net.framework == "torch" else _mindspore
    for change in changes:
        room[change](net.net)


def _each(net, change):
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            new = change(child)
            if new is not None:
                setattr(parent, name, new)


def _pad_after(net):
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d) and layer.stride == (2, 2) and layer.groups > 1:
            layer.padding = (0, 0)
            layer.register_forward_pre_hook(lambda _, x: F.pad(x[0], (0, 1, 0, 1)))


def _uncounted(net):
    plain, forward = F.avg_pool2d, net.forward

    def changed(x):
        F.avg_pool2d = lambda *x, **named: plain(*x, **{**named, "count_include_pad": False})
        try:
            return forward(x)
        finally:
            F.avg_pool2d = plain

    net.forward = changed


class _PoolAfter(nn.MaxPool2d):
    """Padded as TensorFlow's SAME: what is odd goes behind."""

    def forward(self, x):
        missing = [max(0, (-(-n // 2) - 1) * 2 + 3 - n) for n in x.shape[2:]]
        pads = [n for side in reversed(missing) for n in (side // 2, side - side // 2)]
        return F.max_pool2d(F.pad(x, pads, value=float("-inf")), 3, 2)


_torch = {
    "pool_after": lambda net: _each(
        net, lambda c: _PoolAfter(3, 2) if type(c) is nn.MaxPool2d else None
    ),
    "relu6": lambda net: _each(net, lambda c: nn.ReLU6() if type(c) is nn.ReLU else None),
    "pad_after": _pad_after,
    "pool_up": lambda net: _each(
        net,
        lambda c: nn.MaxPool2d(3, 2, ceil_mode=True) if isinstance(c, nn.MaxPool2d) else None,
    ),
    "uncounted": _uncounted,
}


def _rebuilt(conv, **changes):
    cells = __import__("mindspore").nn
    given = {"stride": conv.stride, "pad_mode": conv.pad_mode, "padding": conv.padding} | changes
    new = cells.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size, group=conv.group,
                       has_bias=conv.has_bias, **given)  # fmt: skip
    new.weight = conv.weight
    return new


def _ms_stride_first(net):
    for _, cell in net.cells_and_names():
        if hasattr(cell, "conv3") and max(cell.conv2.stride) > 1:
            strides = {"conv1": cell.conv2.stride, "conv2": 1}
            for name, stride in strides.items():
                old = getattr(cell, name)
                full = old.weight.name
                setattr(cell, name, _rebuilt(old, stride=stride))
                getattr(cell, name).weight.name = full  # an assigned cell's is another


def _ms_each(net, change):
    cells = __import__("mindspore").nn
    for _, cell in list(net.cells_and_names()):
        if isinstance(cell, cells.SequentialCell):
            for index, inner in enumerate(list(cell)):
                new = change(cells, inner)
                if new is not None:
                    cell[index] = new


def _ms_padded(cells, cell):
    if isinstance(cell, cells.Conv2d) and cell.group > 1 and max(cell.stride) > 1:
        return _rebuilt(cell, pad_mode="pad", padding=(0, 1, 0, 1))
    return None


_mindspore = {
    "stride_first": _ms_stride_first,
    "relu6": lambda net: _ms_each(
        net, lambda cells, c: cells.ReLU6() if type(c) is cells.ReLU else None
    ),
    "pad_after": lambda net: _ms_each(net, _ms_padded),
}
