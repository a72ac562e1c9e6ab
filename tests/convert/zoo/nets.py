"""Nets of the zoos by name, with drawn weights and statistics: built, saved, and run.

`tv:resnet50`, `named:resnet50` (written out in torchvision's names, `named.py`), `timm:…`,
`cv:…` (pytorchcv), `ep:…` (efficientnet-pytorch), `ms:…` (mindcv), `k3:…`, `k2:…`
(keras.applications). For logits to be comparable all have one epsilon, and strides and
paddings that no file holds are set alike (`same_forward`): torch's padding on odd sizes is Keras's.
"""

import importlib
import os

import numpy as np

EPSILON = 1e-3


def size_of(name):
    """An input size at which every stride sees an odd size, where "same" is symmetric."""
    plain = name.lower().replace("_", "")
    if "v4" in plain or "inceptionresnet" in plain or "inceptionv3" in plain:
        return 139
    if "nasnet" in plain:
        return 224
    return 129 if "xception" in plain else 65


def _torchvision():
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou) -> Tensor")
    _torchvision.kept = library


class Torch:
    """A torch net of torchvision (or in its names), timm, pytorchcv, efficientnet-pytorch."""

    framework = "torch"
    suffix = ".pth"

    def __init__(self, zoo, name):
        import torch

        self.torch, self.zoo = torch, zoo
        if zoo in ("tv", "timm") and not hasattr(_torchvision, "kept"):
            _torchvision()
        if zoo == "tv":
            models = importlib.import_module("torchvision.models")
            more = {"init_weights": False} if name in ("inception_v3", "googlenet") else {}
            more |= {"aux_logits": True} if more else {}
            self.net = getattr(models, name)(weights=None, **more)
        elif zoo == "named":
            self.net = getattr(importlib.import_module("named"), name)()
        elif zoo == "timm":
            self.net = importlib.import_module("timm").create_model(name, pretrained=False)
        elif zoo == "ep":
            made = importlib.import_module("efficientnet_pytorch").EfficientNet
            self.net = made.from_name(name, image_size=size_of(name))
        else:
            self.net = _pytorchcv(name)(pretrained=False)
            for parent in list(self.net.modules()):
                for child, layer in list(parent.named_children()):  # only fits images of one size
                    if isinstance(layer, torch.nn.AvgPool2d) and layer.kernel_size in (7, 8, 10):
                        setattr(parent, child, torch.nn.AdaptiveAvgPool2d(1))
        self.net.eval()
        for layer in self.net.modules():
            if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm):
                layer.eps = EPSILON
        self.net.transform_input = False

    def stride_first(self):
        """The stride of a bottleneck in its first convolution, as in Keras and the paper."""
        for layer in self.net.modules():
            if hasattr(layer, "conv3") and hasattr(layer.conv2, "stride"):
                layer.conv1.stride, layer.conv2.stride = layer.conv2.stride, layer.conv1.stride

    def draw(self, seed):
        random = np.random.default_rng(seed)
        with self.torch.no_grad():
            for name, value in self.net.state_dict().items():
                if value.is_floating_point():
                    value.copy_(self.torch.from_numpy(_drawn(random, name, value.shape)))

    def save(self, path):
        self.torch.save(self.net.state_dict(), path)

    def load(self, path):
        state = self.torch.load(path, weights_only=True)
        state._metadata = self.net.state_dict()._metadata  # a version that mnasnet asks for
        self.net.load_state_dict(state, strict=True)

    def logits(self, x):
        with self.torch.no_grad():
            y = self.net(self.torch.from_numpy(x.transpose(0, 3, 1, 2).copy()))
        y = y[0] if isinstance(y, tuple) else y
        return y.numpy()


def _pytorchcv(name):
    from pathlib import Path

    models = importlib.import_module("pytorchcv.models")
    for path in sorted(Path(models.__file__).parent.glob("*.py")):
        if f"\ndef {name}(" in path.read_text():
            return getattr(importlib.import_module(f"pytorchcv.models.{path.stem}"), name)
    raise LookupError(name)


class MindCV:
    """A net of mindcv."""

    framework = "mindspore"
    suffix = ".ckpt"

    def __init__(self, zoo, name):
        import mindspore

        self.ms = mindspore
        # As a graph: eagerly, `out += identity` of MindSpore 2.10 fails with NumPy 2.
        mindspore.set_context(mode=mindspore.GRAPH_MODE)
        self.net = importlib.import_module("mindcv").create_model(name, pretrained=False)
        self.net.set_train(False)
        for _, cell in self.net.cells_and_names():
            if hasattr(cell, "moving_variance") and hasattr(cell, "bn_infer"):
                cell.eps = EPSILON
                cell.bn_infer = type(cell.bn_infer)(is_training=False, epsilon=EPSILON)

    def draw(self, seed):
        random = np.random.default_rng(seed)
        for value in self.net.get_parameters():
            drawn = _drawn(random, value.name, value.shape)
            value.init_data()
            value.set_data(self.ms.Tensor(drawn, value.dtype))

    def save(self, path):
        self.ms.save_checkpoint(self.net, str(path))

    def load(self, path):
        missing = self.ms.load_param_into_net(
            self.net, self.ms.load_checkpoint(str(path)), strict_load=True
        )
        assert not missing[0], missing

    def logits(self, x):
        y = self.net(self.ms.Tensor(x.transpose(0, 3, 1, 2).copy()))
        y = y[0] if isinstance(y, tuple) else y
        return y.asnumpy()


class Keras:
    """A net of keras.applications, in Keras 3 or 2."""

    suffix = ".keras"

    def __init__(self, zoo, name):
        os.environ.setdefault("KERAS_BACKEND", "tensorflow")
        self.framework = "keras" if zoo == "k3" else "tf_keras"
        self.keras = importlib.import_module(self.framework)
        size = size_of(name)
        more = {"include_preprocessing": False} if "V3" in name and "Mobile" in name else {}
        more |= {"include_preprocessing": False} if "EfficientNetV2" in name else {}
        make = getattr(self.keras.applications, name)
        self.net = make(
            weights=None, input_shape=(size, size, 3), classifier_activation=None, **more
        )
        self.normalized = "EfficientNetB" in name or "RegNet" in name
        for layer in self.net.layers:
            if isinstance(layer, self.keras.layers.BatchNormalization):
                layer.epsilon = EPSILON

    def draw(self, seed):
        random = np.random.default_rng(seed)
        for layer in self.net.layers:
            if layer.weights and type(layer).__name__ != "Normalization":
                values = zip(layer.weights, layer.get_weights(), strict=True)
                layer.set_weights([_drawn(random, w.name, v.shape, last=True) for w, v in values])

    def save(self, path):
        self.net.save(path)

    def load(self, path):
        self.net = self.keras.models.load_model(path, compile=False)

    def logits(self, x):
        x = x * 255 if self.normalized else x
        return np.asarray(self.net(x, training=False))


def _drawn(random, name, shape, last=False):
    """Values at which logits neither die nor explode, all different."""
    if len(shape) < 2:
        positive = ("var", "gamma", "weight", "scale")
        if any(word in name for word in positive):
            return random.uniform(0.8, 1.2, shape).astype("f4")
        return random.normal(0, 0.1, shape).astype("f4")
    space = int(np.prod(shape[:-2] if last else shape[2:]))
    inputs = shape[-2] if last else shape[1]
    if last and "depthwise" in name:
        inputs = 1
    return (random.normal(0, 1, shape) / np.sqrt(max(inputs * space, 1))).astype("f4")


def net(name):
    """The net of a name such as `tv:resnet50`."""
    zoo, _, model = name.partition(":")
    kinds = {"ms": MindCV, "k2": Keras, "k3": Keras}
    return kinds.get(zoo, Torch)(zoo, model)
