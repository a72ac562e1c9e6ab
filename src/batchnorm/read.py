"""A real, live layer of a framework as a layer of ours, a whole model as a dictionary: `read`.

No framework is imported: who holds such a layer has imported it, so it is found in `sys.modules`.
What is read is what the layer would do at its next call, not what it was constructed with: torch
and Keras honour an attribute that was changed later, MindSpore 2.10 doesn't. How each framework's
layers are read stands in its room (`frameworks/`, the facet `live`).
"""

from __future__ import annotations

import warnings
from typing import Any

from batchnorm.errors import InvalidType
from batchnorm.frameworks import Framework, current
from batchnorm.frameworks.hosted import is_host
from batchnorm.layer import Layer

__all__ = ["find", "framework_of", "read", "read_layer", "record_of", "rule_of"]


def read(obj: Any) -> Layer | dict[str, Layer]:
    """Read a real framework's layer or model; a layer of ours is given back as it is.

    Args:
        obj: a layer of torch (BatchNorm1d/2d/3d, a Lazy one after its first call, SyncBatchNorm, a
            class derived from them whose forward calls batch norm, or a FrozenBatchNorm2d as in
            torchvision, detectron2 and DETR), MindSpore (BatchNorm1d/2d/3d, SyncBatchNorm), Keras 2
            or Keras 3; what `batchnorm.hosts` made of one, ported modules included; or a model of
            one of them, all of whose batch norms are read, by path. It isn't changed, and its
            arrays are copied. A warning names what a torch module's forward adds to batch norm (an
            activation), which isn't read, and the layers of a model that can't be read.

    State: copied, as are the settings in force and the mode (`training`, Keras' `trainable`). A
        FrozenBatchNorm2d becomes a layer in evaluation mode.

    Raises:
        TypeError: anything else, a layer that has no state yet (torch's Lazy ones), one with a
            forward of its own that calls no batch norm, or a model without any that can be read.

    >>> import batchnorm as bn
    >>> layer = bn.torch.BatchNorm2d(3)
    >>> read(layer) is layer
    True

    Source: torch 2.13.0, mindspore 2.10.0, tf_keras 2.21.0, keras 3.15.1; tests/test_read.py.
    """
    if isinstance(obj, Layer):
        return obj
    if is_host(obj):
        return _hosted(obj)
    reader = _reader(obj)
    if reader.is_batch_norm(obj):
        layer = _checked(reader.read(obj))
        _say(reader, {type(obj).__qualname__: obj})
        return layer
    layers = find(obj)
    if not layers:
        raise InvalidType(f"{_kind(obj)} is no batch norm and holds none; read takes {_accepted()}")
    found, refused = {}, {}
    for path, layer in layers.items():
        try:
            found[path] = _checked(
                layer.to_layer() if is_host(layer) else _reader(layer).read(layer)
            )
        except InvalidType as error:
            refused[path] = error
    text = "; ".join(f"{path}: {error}" for path, error in refused.items())
    if not found:
        raise InvalidType(text)
    if refused:
        warnings.warn(
            f"{len(refused)} of {len(layers)} batch norms aren't read: {text}", stacklevel=2
        )
    _say(reader, {path: layers[path] for path in found})
    return found


def read_layer(obj: Any) -> Layer:
    """`read` for one layer; a model is refused.

    Raises:
        TypeError: as `read`, or a model.
    """
    found = read(obj)
    if isinstance(found, dict):
        raise InvalidType(
            f"expected one layer, but got the model {_kind(obj)}, which holds the batch norms "
            f"{', '.join(found)}; give one of them"
        )
    return found


def rule_of(obj: Any) -> Layer:
    """One layer read as the batch norm whose statistics it keeps, whatever else its forward does.

    Raises:
        TypeError: as `read`, but for a forward of its own.
    """
    if isinstance(obj, Layer) or is_host(obj):
        return read_layer(obj)
    reader = _reader(obj)
    return _checked(getattr(reader, "rule_of", reader.read)(obj))


def find(model: Any) -> dict[str, Any]:
    """The framework's own batch-norm layers in a model, by path; a layer alone has the path "".

    Raises:
        TypeError: no layer or model of a framework.
    """
    return _reader(model).layers_of(model)  # type: ignore[no-any-return]


def framework_of(obj: Any, taker: str = "read") -> Framework:
    """Whose layer or model it is; `taker` is what has been given it.

    Raises:
        TypeError: nobody's.
    """
    found = record_of(obj)
    if found is None:
        raise InvalidType(
            f"{taker} takes {_accepted()}, a model that holds some, or a layer of batchnorm, "
            f"but got {_kind(obj)}"
        )
    return found


def record_of(obj: Any) -> Framework | None:
    """Whose layer or model it is; None for nobody's.

    A class may descend from two frameworks' (Keras' layers from torch's modules, on that backend):
    the nearer ancestor decides.
    """
    classes = type(obj).__mro__
    claims = [
        (classes.index(base), record)
        for record in current()
        if record.has("live")
        for base in record.room("live").bases()
        if base in classes
    ]
    return min(claims, key=lambda claim: claim[0])[1] if claims else None


def _say(reader: Any, layers: dict[str, Any]) -> None:
    """A warning about what layers do besides batch norm, if any do."""
    adds = getattr(reader, "adds", None)
    told = (
        {path: adds(layer) for path, layer in layers.items() if not is_host(layer)} if adds else {}
    )
    told = {path: text for path, text in told.items() if text}
    if told:
        text = "; ".join(f"{path}: {text}" for path, text in list(told.items())[:5])
        more = f"; and {len(told) - 5} more" if len(told) > 5 else ""
        warnings.warn(f"read as batch norms alone: {text}{more}", stacklevel=3)


def _accepted() -> str:
    return ", ".join(r.room("live").ACCEPTED for r in current() if r.has("live"))


def _reader(obj: Any) -> Any:
    return framework_of(obj).room("live")


def _hosted(obj: Any) -> Layer:
    return _checked(obj.to_layer())


def _checked(layer: Any) -> Layer:
    assert isinstance(layer, Layer)
    return layer


def _kind(obj: Any) -> str:
    return f"{type(obj).__module__}.{type(obj).__qualname__}"
