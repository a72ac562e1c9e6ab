"""The number of channels and the rank of a Keras layer's inputs, where the code around says them.

Said they are by the layer right before it: in a list of layers, in `model.add` after `model.add`,
and in `x = layer(...)(x)` after `x = layer(...)(x)`. Layers in between that change neither are
passed over; at anything else the search ends.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

from batchnorm.source import Source

__all__ = ["Around", "around"]

_MAKERS = {  # layer -> place and name of its channels, rank of its output
    **{f"{kind}{n}D{end}": (0, "filters", n + 2)
       for kind in ("Conv", "SeparableConv", "Convolution")
       for n in (1, 2, 3) for end in ("", "Transpose")},
    "Dense": (0, "units", 2),
    **{f"Conv{kind}{n}d": (1, "out_channels", n + 2)
       for kind in ("", "Transpose") for n in (1, 2, 3)},
    "Linear": (1, "out_features", 2),
}  # fmt: skip
_PASSED = {"Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "Dropout", "SpatialDropout1D",
           "SpatialDropout2D", "SpatialDropout3D", "MaxPooling1D", "MaxPooling2D", "MaxPooling3D",
           "MaxPool1D", "MaxPool2D", "MaxPool3D", "AveragePooling1D", "AveragePooling2D",
           "AveragePooling3D", "GaussianNoise", "BatchNormalization", "LayerNormalization",
           "ZeroPadding2D"}  # fmt: skip


@dataclass(frozen=True)
class Around:
    """What the code around a layer says about its inputs.

    Attributes:
        channels: their number, as an expression's text; empty where nobody says it.
        rank: of the inputs; None where nobody says it.
    """

    channels: str = ""
    rank: int | None = None


def around(source: Source, node: ast.Call) -> Around:
    """What the code around a layer's call says."""
    parent = source.parents[node]
    for outer in source.around(node):
        if isinstance(outer, ast.Lambda):
            names = [argument.arg for argument in outer.args.args]
            if outer.body is node and names == ["num_features"]:
                return Around("num_features")
        elif isinstance(outer, ast.stmt):
            break
    if isinstance(parent, ast.List | ast.Tuple):
        return _before(source, parent.elts, parent.elts.index(node))
    if isinstance(parent, ast.Call) and node in parent.args:
        if _last(parent.func) == "add" and isinstance(source.parents[parent], ast.Expr):
            return _added_before(source, parent)
        if _last(parent.func) in ("Sequential", "SequentialCell"):
            return _before(source, parent.args, parent.args.index(node))
    if isinstance(parent, ast.Call) and parent.func is node and len(parent.args) == 1:
        return _flowing(source, parent)
    return Around()


def _before(source: Source, layers: list[ast.expr], index: int) -> Around:
    for layer in reversed(layers[:index]):
        said = _said(source, layer)
        if said is not None:
            return said
    return Around()


def _added_before(source: Source, call: ast.Call) -> Around:
    """From `model.add(layer)` statements before this one, on the same model."""
    statement = source.statement(call)
    for earlier in _earlier(source, statement):
        value = earlier.value if isinstance(earlier, ast.Expr) else None
        same = isinstance(value, ast.Call) and ast.dump(value.func) == ast.dump(call.func)
        if not same or not isinstance(value, ast.Call) or len(value.args) != 1:
            return Around()
        said = _said(source, value.args[0])
        if said is not None:
            return said
    return Around()


def _flowing(source: Source, call: ast.Call) -> Around:
    """From what was computed right before: `x = Conv2D(64, 3)(x)`, then `x = …(…)(x)`."""
    given: ast.expr = call.args[0]
    statement = source.statement(call)
    while isinstance(given, ast.Call) and isinstance(given.func, ast.Call) and given.args:
        said = _said(source, given.func)
        if said is not None:
            return said
        given = given.args[0]
    for earlier in _earlier(source, statement):
        if not isinstance(given, ast.Name) or not isinstance(earlier, ast.Assign):
            return Around()
        names = [target.id for target in earlier.targets if isinstance(target, ast.Name)]
        if names != [given.id]:
            return Around()
        given = earlier.value
        while isinstance(given, ast.Call) and isinstance(given.func, ast.Call) and given.args:
            said = _said(source, given.func)
            if said is not None:
                return said
            given = given.args[0]
    return Around()


def _earlier(source: Source, statement: ast.stmt) -> list[ast.stmt]:
    """The statements before one in its block, the nearest first."""
    parent = source.parents[statement]
    for field in ("body", "orelse", "finalbody"):
        block = getattr(parent, field, None)
        if isinstance(block, list) and statement in block:
            return block[: block.index(statement)][::-1]
    return []


def _said(source: Source, layer: ast.expr) -> Around | None:
    """What a layer's output is; None for one that leaves it as its input was."""
    name = _last(layer.func) if isinstance(layer, ast.Call) else ""
    if name in _PASSED:
        return None
    if not isinstance(layer, ast.Call) or name not in _MAKERS:
        return Around()
    place, keyword, rank = _MAKERS[name]
    found = next((k.value for k in layer.keywords if k.arg == keyword), None)
    plain = not any(isinstance(argument, ast.Starred) for argument in layer.args)
    if found is None and plain and len(layer.args) > place:
        found = layer.args[place]
    if found is None or any(isinstance(n, ast.Call | ast.NamedExpr) for n in ast.walk(found)):
        return Around("", rank)
    text = source.text(found)
    return Around(ast.unparse(found) if "\n" in text else text, rank)


def _last(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
