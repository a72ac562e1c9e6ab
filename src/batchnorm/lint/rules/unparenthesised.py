"""BN009: one minus a momentum, without the parentheses that the momentum needed."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from batchnorm.lint.fix import Fix, put
from batchnorm.lint.linted import Linted
from batchnorm.lint.rule import Hit, Rule
from batchnorm.source import Edit

__all__ = ["RULE"]


def check(file: Linted) -> Iterator[Hit]:
    """`1 - ` was put before a momentum that is an expression, without parentheses.

    ## What is found

    A momentum that begins with `1 -` and goes on with another `+` or `-`, with `if … else`, or with
    `or`/`and`, so that only its first part is subtracted: `1 - 1 - 0.9`, `1 - a + b`,
    `1 - m if m else 0.1`. Products need no parentheses: `1 - 0.1 * s` is right.

    ## Why it matters

    Who inverts a momentum by putting `1 - ` before its text gets another number as soon as the
    text is a sum or a choice: `1 - 0.9` becomes `1 - 1 - 0.9`, which is −0.9. torch and Keras take
    any number without a word, and with −0.9 the running variance grows or turns negative;
    MindSpore refuses it. Some converters write such code.

    ## Example

    ```python
    from mindspore import nn

    norm = nn.BatchNorm2d(64, momentum=1 - 1 - 0.9)
    ```

    ## How to fix it

    `--fix` writes them.

    ```python
    from mindspore import nn

    norm = nn.BatchNorm2d(64, momentum=1 - (1 - 0.9))
    ```
    """
    for site in file.sites:
        given = site.momentum
        if given is None:
            continue
        momentum = file.names.value(given)
        if _broken(momentum) and file.source.text(momentum)[0] != "(":
            message = (
                f"momentum={file.text(momentum)} subtracts only its first part from 1; put "
                "parentheses around what is to be subtracted"
            )
            yield Hit(momentum, message, _closed(momentum, file))


def _broken(node: ast.expr) -> bool:
    match node:
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub()):
            return _from_one(left) or _broken(left)
        case ast.IfExp(body=body, orelse=other):
            return _from_one(body) and not _from_one(other)
        case ast.BoolOp(values=[first, *_]):
            return _from_one(first)
    return False


def _closed(node: ast.expr, file: Linted) -> Fix | None:
    """Parentheses around all that follows the first minus."""
    first: ast.AST = node
    while not _from_one(first):
        match first:
            case ast.IfExp(body=inner) | ast.BinOp(left=inner) | ast.BoolOp(values=[inner, *_]):
                first = inner
    assert isinstance(first, ast.BinOp)
    fix = put(file, [(node, "")])
    if fix is None:
        return None
    data, (_, end) = file.source.data, file.source.span(node)
    start = data.index(b"-", file.source.span(first.left)[1]) + 1
    start += len(data[start:end]) - len(data[start:end].lstrip(b" "))
    return Fix((Edit(start, start, "("), Edit(end, end, ")")))


def _from_one(node: ast.AST) -> bool:
    """Whether this is `1 - something`."""
    match node:
        case ast.BinOp(left=ast.Constant(value=int() | float() as one), op=ast.Sub()):
            return one == 1
    return False


RULE = Rule("BN009", "one-minus-without-parentheses", check, ("momentum-out-of-range",))
