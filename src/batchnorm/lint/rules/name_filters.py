"""BN008: batch norms told from other layers by a "bn" in a parameter's name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from batchnorm.lint.linted import Function, Linted
from batchnorm.lint.rule import Hit, Rule

__all__ = ["RULE"]

_TOO_SHORT = re.compile(r"[._]?(bn|BN|batch_?norm)")
_NAME = re.compile(r"(^|[._])(n|k|key|param|layer|\w*name)(\.lower\(\))?$")
_NAME_OF_SOMETHING_ELSE = re.compile(
    r"(?i)(model|net|arch|backbone|encoder|data|set|file|dir|path|class|task|run|user|func|op)_?name|"
    r"(self|args?|opts?|cfg|config)\.name"
)
_PART = re.compile(r"[._]?(weight|bias|gamma|beta)")


def check(file: Linted) -> Iterator[Hit]:
    """Batch norms are picked by the text "bn" in a name.

    ## What is found

    `"bn" in name`, `"bn" not in param.name`, `name.startswith("bn")` and the same with `batchnorm`
    or `batch_norm`, where the other side is called like a parameter's name (`name`, `n`, `key`,
    `k`, `param.name`, …; not `model_name`), inside a loop, a comprehension or a filter over
    parameters or layers (`named_parameters()`, `trainable_params()`, …). A `for` loop counts where
    it decides decay, freezing or the mode.

    Not reported where the same condition asks for the shape (`p.ndim < 2`), which covers all norms,
    or where the code shows that it knows the net's names: where the same condition, or
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
        if _decides(node, of, file) and not _speaks_of_one_net(node, file):
            message = (
                f"{file.text(node)} misses batch norms of other names, such as downsample.1, and "
                "takes what only contains the text; ask isinstance of the layer instead"
            )
            yield Hit(node, message)


_PARAMETERS = re.compile(
    r"named_parameters|parameters\(|trainable_params|get_parameters|parameters_and_names|"
    r"named_modules|cells_and_names|trainable_variables|trainable_weights"
)
_DECISION = re.compile(
    r"(?i)decay|requires_grad|freez|frozen|trainable|\.eval\(|set_train|regulariz|l2_loss"
)
_BY_SHAPE = re.compile(r"\.ndim\b|\.dim\(\)|\.shape\b|\.rank\b")


def _decides(node: ast.AST, of: ast.expr, file: Linted) -> bool:
    """Whether a loop over parameters decides their decay or freezing by this, and this alone."""
    if any(_BY_SHAPE.search(file.text(each)) for each in _conditions_beside(node, file)):
        return False
    root: ast.AST = of
    while isinstance(root, ast.Attribute | ast.Call | ast.Subscript):
        root = root.func if isinstance(root, ast.Call) else root.value
    name = getattr(root, "id", "")
    for outer in file.source.around(node):
        if isinstance(outer, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            for each in outer.generators:
                if name in _targets(each.target) and _PARAMETERS.search(file.text(each.iter)):
                    return True
        elif isinstance(outer, ast.Lambda):
            call = file.source.parents[outer]
            if isinstance(call, ast.Call) and _PARAMETERS.search(file.text(call)):
                return True
        elif isinstance(outer, ast.For) and name in _targets(outer.target):
            over = file.text(outer.iter)
            return bool(_PARAMETERS.search(over) and _DECISION.search(file.text(outer)))
    return False


def _targets(target: ast.expr) -> set[str]:
    return {part.id for part in ast.walk(target) if isinstance(part, ast.Name)}


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
    return not any(
        isinstance(file.source.parents.get(file.source.parents.get(b.node, b.node)), Function)
        for b in (file.names.bindings(name) if isinstance(name, ast.Name) else ())
        if isinstance(b.node, ast.arg)
    )


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
    whole = r"norm|down_?sample|shortcut|\w+(\.\w+){2}"  # or a layer's whole name
    if any(re.search(whole, text) for text in others):
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
