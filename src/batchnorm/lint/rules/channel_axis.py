"""BN004: a layer whose axis is not the channel axis of the layers around it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from batchnorm.lint.fix import argued, put
from batchnorm.lint.linted import Linted
from batchnorm.lint.number import number
from batchnorm.lint.rule import Hit, Rule
from batchnorm.lint.site import Site

__all__ = ["RULE"]

_FORMATS = ("channels_first", "channels_last")
_LETTERS = ("NCHW", "NHWC")


def check(file: Linted) -> Iterator[Hit]:
    """The axis of a batch norm contradicts the data format of the layers beside it.

    ## What is found

    - In one function all layers that name a `data_format` name the same one, and a batch norm of
      that function has the other one's axis: -1 (also as the default), 3 or 4 beside
      `channels_first`, 1 beside `channels_last`. `set_image_data_format("channels_first")` in the
      file counts for all functions that name none.
    - The same in MindSpore, where both layers take a `data_format`: NHWC beside NCHW, which is the
      default.
    - The axis is chosen by the data format, and the choice is the wrong way round:
      `3 if data_format == "channels_first" else 1`.
    - A Keras layer is given axis 0, which counts the samples of a batch: each sample gets a mean of
      its own, and the layer takes batches of one size only.

    Data formats that are variables are not guessed.

    ## Why it matters

    The layer then normalizes rows or columns of the image instead of channels. With known sizes
    nothing fails, the loss goes down, and accuracy suffers only a little: such mistakes have been
    in published baselines. Converted weights do not fit, or, for square shapes, fit wrongly.

    ## Example

    ```python
    from keras import layers


    def block(x):
        x = layers.Conv2D(64, 3, data_format="channels_first")(x)
        return layers.BatchNormalization()(x)
    ```

    ## How to fix it

    `--fix` writes Keras' axis; between MindSpore's two data formats people choose.

    ```python
    from keras import layers


    def block(x):
        x = layers.Conv2D(64, 3, data_format="channels_first")(x)
        return layers.BatchNormalization(axis=1)(x)
    ```
    """
    everywhere = _set_for_all(file)
    named: dict[ast.AST, list[ast.keyword]] = {}
    for site in file.sites:
        function = file.function(site.node)
        if function not in named:
            named[function] = _data_formats(function, file)
        beside = [k for k in named[function] if k not in site.node.keywords]
        default = site.form.dialect.room("source").DATA_FORMAT
        if default:
            yield from _lettered(site, beside, default)
        elif site.form.dialect.is_keras:
            yield from _keras(site, file, _formats(beside) or everywhere)


def _keras(site: Site, file: Linted, named: set[str]) -> Iterator[Hit]:
    axis = site.given("channel_axis")
    reversed_choice = None if axis is None else _reversed(axis, file)
    if reversed_choice is not None:
        message = (
            "the axis is chosen the wrong way round: channels_first has its channels on axis 1, "
            "channels_last on the last one"
        )
        yield Hit(reversed_choice[0], message, put(file, reversed_choice[1]))
        return
    found = None if axis is None else number(axis, file.names)
    if (found is None or found.default) and not (axis is None and site.complete):
        return
    value = -1 if found is None else int(found.value)
    if value == 0 and found is not None:
        message = "axis 0 counts the samples of a batch, and each gets a mean of its own"
        likely = 1 if named == {"channels_first"} else -1
        own = found.node is axis and site.layer is None
        yield Hit(
            found.node, message, put(file, [(found.node, str(likely))], safe=False) if own else None
        )
        return
    wrong = {"channels_first": (-1, 3, 4), "channels_last": (1,)}
    if len(named) == 1 and value in wrong[next(iter(named))]:
        (layout,) = named
        right = 1 if layout == "channels_first" else -1
        message = (
            f"axis {value}{' (the default)' if axis is None else ''} beside layers of "
            f'data_format="{layout}": channels are on axis {right} there'
        )
        literal = found is not None and isinstance(found.node, ast.Constant | ast.UnaryOp)
        fix = argued(file, site.node, added=[f"axis={right}"]) if axis is None else None
        if found is not None and literal:
            fix = put(file, [(found.node, str(right))], safe=found.node is axis)
        yield Hit(site.node, message, fix if site.layer is None else None)


def _lettered(site: Site, beside: list[ast.keyword], default: str) -> Iterator[Hit]:
    """A layer with a data format of its own, which has a default: MindSpore's."""
    given = site.arguments.get("data_format")
    if not site.complete or not (given is None or isinstance(given, ast.Constant)):
        return
    own = default if given is None else str(given.value)
    others = _formats(beside, _LETTERS)
    if len(others) == 1 and own not in others:
        message = (
            f"data_format {own}{' (the default)' if given is None else ''} beside layers of "
            f'data_format="{next(iter(others))}"'
        )
        yield Hit(site.node, message)


def _set_for_all(file: Linted) -> set[str]:
    """What `set_image_data_format` is called with in this file."""
    found = set()
    for call in file.calls(file.source.tree):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        if name == "set_image_data_format" and call.args and _format(call.args[0]):
            found.add(_format(call.args[0]))
    return found


def _data_formats(function: ast.AST, file: Linted) -> list[ast.keyword]:
    """The data formats that the calls in a function name."""
    return [k for call in file.calls(function) for k in call.keywords if k.arg == "data_format"]


def _formats(beside: list[ast.keyword], known: tuple[str, ...] = _FORMATS) -> set[str]:
    """The formats that other layers in the same function name; empty if one is unknown."""
    found = {_format(keyword.value, known) for keyword in beside}
    return set() if "" in found else found


def _format(node: ast.expr, known: tuple[str, ...] = _FORMATS) -> str:
    said = isinstance(node, ast.Constant) and node.value in known
    return str(node.value) if said else ""  # type: ignore[attr-defined]


Choice: TypeAlias = tuple[ast.expr, list[tuple[ast.AST, str]]]


def _exchanged(file: Linted, of: ast.expr, pair: Sequence[ast.expr | None]) -> Choice:
    """What a choice is about, and its two values in each other's place; none if one isn't seen."""
    first, second = pair
    if first is None or second is None:
        return of, []
    return of, [(first, file.source.text(second)), (second, file.source.text(first))]


def _reversed(axis: ast.expr, file: Linted) -> Choice | None:
    """The choice between two axes by data format that is the wrong way round, if this is one."""
    chosen = file.names.value(axis)
    if isinstance(chosen, ast.Name):  # assigned in both branches of an if statement
        for binding in file.names.bindings(chosen):
            around = file.source.parents.get(binding.node)
            if not isinstance(around, ast.If) or binding.value is None:
                continue
            value = number(binding.value, file.names)
            layout = _asked(around.test)
            if value is None or not layout or binding.node not in around.body:
                continue
            if (layout == "channels_first") != (value.value == 1):
                others = [b.value for b in file.names.bindings(chosen) if b is not binding]
                pair = (binding.value, others[0] if len(others) == 1 else None)
                return _exchanged(file, binding.value, pair)
        return None
    if not isinstance(chosen, ast.IfExp):
        return None
    layout, value = _asked(chosen.test), number(chosen.body, file.names)
    if not layout or value is None or value.value not in (1, 3, 4, -1):
        return None
    if (layout == "channels_first") == (value.value == 1):
        return None
    return _exchanged(file, chosen, (chosen.body, chosen.orelse))


def _asked(test: ast.expr) -> str:
    """The data format for which a test is true, if that is what it asks."""
    match test:
        case ast.Compare(left=left, ops=[ast.Eq() | ast.NotEq() as op], comparators=[right]):
            layout = _format(left) or _format(right)
            if layout and isinstance(op, ast.NotEq):
                return next(other for other in _FORMATS if other != layout)
            return layout
    return ""


RULE = Rule(
    "BN004", "axis-against-data-format", check, ("default-channel-axis", "channel-axis-parameter")
)
