"""BN008: batch norms told from other layers by a "bn" in a parameter's name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from batchnorm.lint.linted import Linted
from batchnorm.lint.rule import Hit, Rule

__all__ = ["RULE"]

_TOO_SHORT = re.compile(r"[._]?(bn|BN|batch_?norm)")
_NAME = re.compile(r"(^|[._])(n|k|key|param|layer|\w*name)(\.lower\(\))?$")
_NAME_OF_SOMETHING_ELSE = re.compile(
    r"(?i)(model|net|arch|backbone|encoder|data|set|file|dir|path|class|task|run|user|func|op)_?name|"
    r"(self|args?|opts?|cfg|config)\.name"
)
_PART = re.compile(r"[._]?(weight|bias|gamma|beta)")
_NAMED = re.compile(r"p|m|v|w|param\w*|module|layer|cell|weight|value|tensor|var\w*")


def check(file: Linted) -> Iterator[Hit]:
    """Batch norms are picked by the text "bn" in a name.

    ## What is found

    `"bn" in name`, `"bn" not in param.name`, `name.startswith("bn")` and the same with `batchnorm`
    or `batch_norm`, where the other side is called like a parameter's name (`name`, `n`, `key`,
    `k`, `param.name`, …; not `model_name`, and not a function's argument `name` unless it has one
    for the parameter as well).

    Not reported where the code shows that it knows the net's names: where the same condition, or
    another branch of the same `if`, asks for further spellings (`"bn" in k or "downsample.1" in
    k`), where it asks for a part of a certain net as well (`"rpn" in k and "bn" in k`) or for
    several beginnings, where isinstance asks the layer as well, and where the text is longer, such
    as `"bn1."`, or the name of a class, `"BatchNorm"`.

    ## Why it matters

    Names depend on who wrote the net. The batch norms of ResNet's shortcuts are `downsample.1`,
    those of a Sequential `0.1`, others `norm1`, and none of these contains "bn"; `subnet.conv`
    does. What is filtered is skipped silently: a conversion loses layers, and weight decay is
    put on some batch norms and taken from some convolutions. MindSpore's own
    migration script lost `down_sample.1` in this way.

    ## Example

    ```python
    decay = [p for name, p in net.named_parameters() if "bn" not in name]
    ```

    ## How to fix it

    Ask the layers, not their names:

    ```python
    from torch import nn

    norms = [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    exempt = {p for m in norms for p in m.parameters()}
    decay = [p for p in net.parameters() if p not in exempt]
    ```
    """
    for node in file.nodes:
        if not isinstance(node, ast.Compare | ast.Call):
            continue
        parts = _filter(node)
        if parts is None:
            continue
        text, of = parts
        if not _TOO_SHORT.fullmatch(text) or not _names_a_parameter(of, file):
            continue
        if not _speaks_of_one_net(node, file):
            message = (
                f"{file.text(node)} misses batch norms of other names, such as downsample.1, and "
                "takes what only contains the text; ask isinstance of the layer instead"
            )
            yield node, message


def _filter(node: ast.Compare | ast.Call) -> tuple[str, ast.expr] | None:
    """The text that is looked for, and where."""
    match node:
        case ast.Compare(
            left=ast.Constant(value=str() as text), ops=[ast.In() | ast.NotIn()], comparators=[of]
        ):
            return text, of
        case ast.Call(
            func=ast.Attribute(value=of, attr="startswith" | "find" | "count"),
            args=[ast.Constant(value=str() as text)],
        ):
            return text, of
        case ast.Call(
            func=ast.Attribute(value=ast.Name(id="re"), attr="search" | "match" | "findall"),
            args=[ast.Constant(value=str() as text), of],
        ):
            return text, of
    return None


def _names_a_parameter(node: ast.expr, file: Linted) -> bool:
    """Whether an expression is likely to be a parameter's or layer's name, and not a model's."""
    text = file.text(node)
    if not _NAME.search(text) or _NAME_OF_SOMETHING_ELSE.search(text):
        return False
    name = node.func.value if isinstance(node, ast.Call) and isinstance(
        node.func, ast.Attribute) else node  # fmt: skip
    for binding in file.names.bindings(name) if isinstance(name, ast.Name) else ():
        if isinstance(binding.node, ast.arg):
            # A function's only argument called `name` may be anything; beside a parameter it isn't.
            arguments = file.source.parents[binding.node]
            around = file.source.parents[arguments]
            others = (a.arg for a in ast.walk(arguments) if isinstance(a, ast.arg))
            return isinstance(around, ast.Lambda) or any(map(_NAMED.fullmatch, others))
    return True


def _speaks_of_one_net(node: ast.AST, file: Linted) -> bool:
    """Whether other conditions beside this one show that the net's names are known."""
    beside = _conditions_beside(node, file)
    texts = [
        each.value
        for condition in beside
        for each in ast.walk(condition)
        if isinstance(each, ast.Constant) and isinstance(each.value, str)
    ]
    others = [text for text in texts if not _TOO_SHORT.fullmatch(text)]
    if any(re.search("norm|down_?sample|shortcut", text) for text in others):
        return True
    calls = [each.func for condition in beside for each in ast.walk(condition)
             if isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute)]  # fmt: skip
    if sum(call.attr == "startswith" for call in calls) > 1:
        return True
    asked = (c for condition in beside for c in ast.walk(condition) if isinstance(c, ast.Call))
    if any(file.text(c.func) == "isinstance" and "Norm" in file.text(c) for c in asked):
        return True
    both = any(isinstance(c, ast.BoolOp) and isinstance(c.op, ast.And) for c in beside)
    return both and any(not _PART.fullmatch(text) for text in others)


def _conditions_beside(node: ast.AST, file: Linted) -> list[ast.expr]:
    """The whole condition that a filter is part of, and those of the if statement's branches."""
    parents = file.source.parents
    while isinstance(parents.get(node), ast.BoolOp | ast.UnaryOp | ast.Compare):
        node = parents[node]
    found: list[ast.expr] = [node]  # type: ignore[list-item]
    branch = parents.get(node)
    while isinstance(branch, ast.If) and getattr(parents.get(branch), "orelse", None) == [branch]:
        branch = parents[branch]
    while isinstance(branch, ast.If):
        found += [branch.test] if branch.test is not node else []
        branch = branch.orelse[0] if len(branch.orelse) == 1 else None
    return found


RULE = Rule("BN008", "filter-by-name", check)
