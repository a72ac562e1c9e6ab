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
_NAMED = re.compile(r"p|m|v|w|param\w*|module|layer|cell|weight|value|tensor|var\w*")


def check(file: Linted) -> Iterator[Hit]:
    """Batch norms are picked by the text "bn" in a name.

    ## What is found

    `"bn" in name`, `"bn" not in param.name`, `name.startswith("bn")` and the same with `batchnorm`
    or `batch_norm`, where the other side is called like a parameter's name (`name`, `n`, `key`,
    `k`, `param.name`, …; not `model_name`, and not a function's argument `name` unless it has one
    for the parameter as well). Not reported where the same condition asks for other spellings
    as well (`"bn" in k or "downsample.1" in k`), and not for longer texts, such as `"bn1."`, which
    speak of one certain net, nor for several `startswith` at once, nor for the name of a class,
    `"BatchNorm"`.

    ## Why it matters

    Names depend on who wrote the net. The batch norms of ResNet's shortcuts are `downsample.1`,
    those of a Sequential `0.1`, others `norm1`, and none of these contains "bn"; `subnet.conv`
    does. What is filtered is skipped silently: a conversion loses a quarter of the layers, and
    weight decay is put on some batch norms and taken from some convolutions. MindSpore's own
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
        if not _asks_for_more(node, file):
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


def _asks_for_more(node: ast.AST, file: Linted) -> bool:
    """Whether the condition names other spellings of batch norms as well."""
    around = node
    while isinstance(file.source.parents.get(around), ast.BoolOp | ast.UnaryOp):
        around = file.source.parents[around]
    calls = [n.func for n in ast.walk(around) if isinstance(n, ast.Call)]
    if sum(isinstance(f, ast.Attribute) and f.attr == "startswith" for f in calls) > 1:
        return True
    texts = [n.value for n in ast.walk(around) if isinstance(n, ast.Constant)]
    more = [t for t in texts if isinstance(t, str) and re.search("norm|down_?sample|shortcut", t)]
    return len(more) > sum(1 for t in more if _TOO_SHORT.fullmatch(t))


RULE = Rule("BN008", "filter-by-name", check)
