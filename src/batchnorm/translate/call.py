"""A call in source text: which class of which dialect, and its arguments by parameter name.

The text is parsed, never evaluated. Not here: what the arguments mean (`reading`).
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from batchnorm.errors import InvalidValue
from batchnorm.frameworks import Framework, current
from batchnorm.frameworks.names import did_you_mean
from batchnorm.translate.argument import Argument
from batchnorm.translate.form import Form, forms
from batchnorm.translate.objects import read_argument
from batchnorm.vocabulary import Meaning

__all__ = ["TOO_DEEP", "Call", "CallError", "bind", "parse_call"]

# Layers of the same class names that are none of ours.
_FOREIGN = {
    name: f"{name} has batch norms of its own, which aren't known here"
    for name in ("paddle", "oneflow", "jittor", "jt", "flax", "linen", "mxnet", "quantized")
}


# Functions that normalize with the statistics that they are given.
FUNCTIONS = {"batch_norm", "native_batch_norm", "batch_normalization", "fused_batch_norm"}
WEIGHT_OF_BATCH = Meaning("weight_of_batch")


class CallError(InvalidValue):
    """A call that can't be read: says what was given and what was expected."""


DEEPEST = 200
"""Levels of an expression that are read: a call is written in a few."""
TOO_DEEP = CallError(
    "the call is nested too deeply to be read; expected one such as nn.BatchNorm2d(64): give the "
    "expression a name, and write that name"
)


@dataclass(frozen=True)
class Call:
    """A call's class and arguments, as far as they were written."""

    form: Form
    arguments: Mapping[str, Argument]
    inferred: str = ""
    """How the dialect was found, where nobody named it."""


def parse_call(text: str, of: Framework | None = None, to: Framework | None = None) -> Call:
    """Read a call such as "nn.BatchNorm2d(64, eps=0.001)".

    Args:
        text: the call, with any prefix before the class name.
        of: the dialect; without it, what the prefix, the class or the parameters say.
        to: the dialect that it is to become, which it isn't yet.

    Raises:
        ValueError: no call, an unknown class or parameter, a missing, doubled or starred argument,
            or a dialect that can't be told or contradicts the prefix.
    """
    text = text.strip().rstrip(",")
    node = _expression(text)
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name | ast.Attribute):
        raise CallError(
            f"expected one call such as nn.BatchNorm2d(64, momentum=0.1), but got {text!r}"
        )
    *prefix, class_name = ast.unparse(node.func).split(".")
    if class_name.lower().strip("_") in FUNCTIONS:
        raise CallError(
            f"{ast.unparse(node.func)} is a function, not a layer: it keeps no state and is given "
            "its statistics, so there is no layer's call to write. Its momentum is the weight of "
            "the new batch in torch and in mindspore.ops; `batchnorm explain` has the layers' rules"
        )
    positional, keywords = _split(node)
    found, inferred = _form(prefix, class_name, keywords, of, to)
    return Call(found, bind(found, positional, keywords, text), inferred)


def _expression(text: str) -> ast.expr | None:
    """The expression of a text: itself, or what a line of a file assigns or returns."""
    try:
        body = ast.parse(text).body
    except (RecursionError, MemoryError):
        raise TOO_DEEP from None
    except (SyntaxError, ValueError) as error:
        raise CallError(
            f"expected one call such as nn.BatchNorm2d(64, momentum=0.1), but {text!r} does not "
            f"parse: {getattr(error, 'msg', error)}"
        ) from None
    level: list[ast.AST] = list(body)
    for _ in range(DEEPEST):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    if level:  # whatever limit of recursion the process has
        raise TOO_DEEP
    only = body[0] if len(body) == 1 else None
    if isinstance(only, ast.Expr | ast.Assign | ast.AnnAssign | ast.Return):
        return only.value
    return None


def bind(
    found: Form, positional: Sequence[ast.expr], keywords: Mapping[str, ast.expr], whole: str
) -> dict[str, Argument]:
    """Give each argument its parameter, as Python would.

    Raises:
        ValueError: too many positional arguments, an unknown parameter, or one given twice.
    """
    name, parameters = found.class_name, found.parameters
    by_place = [key for key, p in parameters.items() if p.kind == "positional or keyword"]
    if len(positional) > len(by_place):
        raise CallError(
            f"{name} of {found.dialect.name} takes {len(by_place)} positional arguments "
            f"({', '.join(by_place)}), but got {len(positional)}"
        )
    given = dict(zip(by_place, positional, strict=False))
    for key, node in keywords.items():
        if key not in parameters:
            raise CallError(
                f"{name} of {found.dialect.name} has no parameter {key!r}"
                f"{did_you_mean(key, parameters)}; it has {', '.join(parameters)}"
            )
        if key in given:
            raise CallError(f"{name} got {key!r} twice: by place and by name")
        given[key] = node
    missing = [key for key, p in parameters.items() if p.required and key not in given]
    if missing:
        raise CallError(f"{name} of {found.dialect.name} needs {', '.join(missing)}")
    return {
        key: read_argument(given[key], whole, parameter, found.dialect)
        for key, parameter in parameters.items()
        if key in given
    }


def _split(node: ast.Call) -> tuple[list[ast.expr], dict[str, ast.expr]]:
    """Positional and keyword arguments; a literal dictionary after ** is taken apart."""
    for argument in node.args:
        if isinstance(argument, ast.Starred):
            raise CallError(
                f"{ast.unparse(argument)} hides which arguments are given, and the call is not "
                "evaluated: write them out"
            )
    pairs: list[tuple[str, ast.expr]] = []
    for keyword in node.keywords:
        if keyword.arg is not None:
            pairs.append((keyword.arg, keyword.value))
            continue
        value = keyword.value
        keys = value.keys if isinstance(value, ast.Dict) else [None]
        names = [key.value for key in keys if isinstance(key, ast.Constant)]
        if not isinstance(value, ast.Dict) or not all(isinstance(n, str) for n in names):
            names = []
        if not isinstance(value, ast.Dict) or len(names) != len(keys):
            raise CallError(
                f"**{ast.unparse(value)} hides which arguments are given, and the call is not "
                "evaluated: write them out, as keywords or as a literal dictionary"
            )
        pairs += zip(map(str, names), value.values, strict=True)
    keywords = dict(pairs)
    if len(keywords) != len(pairs):
        twice = next(key for key, _ in pairs if sum(key == other for other, _ in pairs) > 1)
        raise CallError(f"{ast.unparse(node.func)} got {twice!r} twice")
    return node.args, keywords


def _form(
    prefix: list[str],
    class_name: str,
    keywords: Mapping[str, ast.expr],
    of: Framework | None,
    to: Framework | None,
) -> tuple[Form, str]:
    said = _said(prefix)
    dotted = ".".join(prefix)
    for part in prefix:
        if part in _FOREIGN:
            raise CallError(
                f"{dotted}.{class_name} can't be read: {_FOREIGN[part]}; expected a layer of "
                f"{' or '.join(record.layer.rpartition('.')[0] for record in current())}"
            )
    if of is not None:
        if said is not None and of.framework not in (said.framework, said.lineage):
            raise CallError(
                f"the prefix {dotted!r} says {said.name}, but the call is read as {of.name}"
            )
        known = forms(of)
        if class_name not in known:
            raise CallError(
                f"{of.name} has no class {class_name!r}{did_you_mean(class_name, known)}; "
                f"expected one of {', '.join(known)}"
            )
        return known[class_name], ""
    newest = [record for record in current() if record.calls.bare or record is said]
    having = {d.name: forms(d)[class_name] for d in newest if class_name in forms(d)}
    if not having:
        known = {name: found for d in newest for name, found in forms(d).items()}
        raise CallError(
            f"unknown class {class_name!r}{did_you_mean(class_name, known)}; expected one of "
            f"{', '.join(known)}"
        )
    if said is not None and said.name in having:
        return having[said.name], f"the prefix {dotted!r}"
    fitting = {name: f for name, f in having.items() if set(keywords) <= set(f.parameters)}
    if len(fitting) == 1:
        (found,) = fitting.values()
        why = "the class" if len(having) == 1 else "the parameters"
        return found, f"{why} of {class_name}"
    plain = _by_momentum({n: f for n, f in fitting.items() if _written_as(dotted, f)}, keywords)
    if plain is not None:
        return plain
    others = {n: f for n, f in fitting.items() if to is None or n != to.name}
    if len(others) == 1:
        (found,) = others.values()
        return found, f"its parameters, as it is to become {to.name if to else ''}"
    raise CallError(
        f"{'.'.join([*prefix, class_name])} can be {' or '.join(fitting or having)}: say which "
        "with --from (from_)"
    )


def _written_as(dotted: str, found: Form) -> bool:
    """Whether a framework's users write this prefix, or there is none."""
    return not dotted or f"{dotted}.".endswith(found.dialect.prefix)


def _by_momentum(
    fitting: Mapping[str, Form], keywords: Mapping[str, ast.expr]
) -> tuple[Form, str] | None:
    """The one framework for which a literal momentum leaves most of the old value in place."""
    node = keywords.get("momentum")
    if not isinstance(node, ast.Constant) or not isinstance(node.value, float):
        return None
    new_batch = {}
    for name, found in fitting.items():
        meaning = found.parameters["momentum"].meaning
        new_batch[name] = node.value if meaning == WEIGHT_OF_BATCH else 1 - node.value
    slow = [name for name, weight in new_batch.items() if 0 < weight < 0.5]
    if len(slow) != 1 or not all(name in slow or w > 0.5 for name, w in new_batch.items()):
        return None
    others = ", ".join(name for name in new_batch if name != slow[0])
    return fitting[slow[0]], (
        f"momentum={node.value:g}, which keeps most of the old value there and little of it in "
        f"{others}; say --from if that is wrong"
    )


def _said(prefix: list[str]) -> Framework | None:
    """What a dotted prefix says about the framework, by its last word that says anything.

    `nn.`, `layers.` and `keras.` say nothing: torch and MindSpore both are imported as nn, and
    `from tensorflow import keras` may be Keras 2.
    """
    words = {word: record for record in current() for word in record.calls.prefixes}
    return next((words[part] for part in reversed(prefix) if part in words), None)
