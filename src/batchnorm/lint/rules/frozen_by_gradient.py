"""BN010: layers frozen by requires_grad only, whose running statistics go on moving."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from batchnorm.frameworks import Framework, find
from batchnorm.lint.fix import Fix, line_before
from batchnorm.lint.linted import Linted
from batchnorm.lint.rule import Hit, Rule

__all__ = ["RULE"]

_ALSO = re.compile(
    r"\.eval\(|\.train\(False|set_train\(\s*(mode\s*=\s*)?False|track_running_stats|"
    r"running_mean|running_var|moving_mean|moving_variance|use_batch_statistics|\.momentum *="
)
_ON_REQUEST = re.compile(
    r"\b\w*(freeze|frozen|lock|fix)\w*(stat|bn|batch_?norm|eval|mode)\w*\(|set_bn\w*\("
)
"""A call of what freezes the statistics by its name."""
_PARAMETERS = {"parameters", "get_parameters", "trainable_params", "parameters_and_names",
               "named_parameters"}  # fmt: skip


def check(file: Linted) -> Iterator[Hit]:
    """Batch norms are frozen by `requires_grad` only, so their running statistics go on moving.

    ## What is found

    In torch and MindSpore, code that takes the gradients from all parameters of a layer that is
    known to be a batch norm: `m.requires_grad_(False)`, a loop over `m.parameters()`, or both of
    `m.weight` and `m.bias` (`m.gamma` and `m.beta`) one by one; and the class or function around it
    says nothing about the mode or the statistics: no `eval()`, `set_train(False)`,
    `track_running_stats`, `use_batch_statistics`, no use of the running statistics. Also a loop
    over all parameters of a torch net whose class is in the file and makes batch norms, if `eval()`
    is nowhere in the file. One of the two parameters alone, which some losses want, is not
    reported.

    ## Why it matters

    `requires_grad` stops the optimizer and nothing else: in training mode the layer still
    normalizes by the batch and its running statistics still follow the new data. A frozen backbone
    then drifts, and evaluates worse after every epoch. In Keras `trainable=False` on a batch norm
    does stop both, so the habit comes from there.

    ## Example

    ```python
    from torch import nn


    def freeze(net):
        for m in net.modules():
            if isinstance(m, nn.BatchNorm2d):
                m.weight.requires_grad = False
                m.bias.requires_grad = False
    ```

    ## How to fix it

    `net.train()` undoes `eval` (which `--unsafe-fixes` writes): call it after that, or override
    `train` in the net.

    ```python
    from torch import nn


    def freeze(net):
        for m in net.modules():
            if isinstance(m, nn.BatchNorm2d):
                m.eval()
                m.weight.requires_grad = False
                m.bias.requires_grad = False
    ```
    """
    one_by_one: dict[tuple[ast.AST, str], dict[str, ast.AST]] = {}
    for node in file.nodes:
        layer = _frozen(node, file)
        if layer is None:
            continue
        of, part = layer
        thing = file.layer(of)
        if thing is None and not part and _is_net_with_batch_norms(of, file):
            around = file.outermost(node)
            text = "" if around is file.source.tree else file.source.text(around)
            if b".eval(" not in file.source.data and not _ON_REQUEST.search(text):
                yield Hit(node, _message(of, file))
            continue
        if thing is None or find(file.framework(thing)).is_keras:
            continue
        first = node
        if part:
            parts = one_by_one.setdefault((file.function(node), file.text(of)), {})
            parts[part] = node
            if len(parts) < 2:
                continue
            first = next(iter(parts.values()))
            parts.clear()
        around = file.outermost(node)
        here = around is file.source.tree
        text = file.source.data.decode() if here else file.source.text(around)
        if not _ALSO.search(text) and not _ON_REQUEST.search(text):
            yield Hit(
                node, _message(of, file), _set_mode(of, first, find(file.framework(thing)), file)
            )


def _set_mode(of: ast.expr, node: ast.AST, framework: Framework, file: Linted) -> Fix | None:
    """Inference mode before a statement, or before the loop over a layer's parameters."""
    loop = next((n for n in file.source.around(node) if isinstance(n, ast.For)), None)
    inside = set() if loop is None else set(ast.walk(loop.iter))
    method = "eval()" if framework.room("source").INFERENCE else "set_train(False)"
    place = node if loop is None or of not in inside else loop
    return line_before(file, place, f"{file.source.text(of)}.{method}")


def _message(of: ast.expr, file: Linted) -> str:
    return (
        f"requires_grad stops the training of {file.text(of)}'s parameters only: in training mode "
        "running statistics go on moving; set the mode as well"
    )


def _is_net_with_batch_norms(node: ast.expr, file: Linted) -> bool:
    """Whether this is a net whose class is in this file and makes batch norms.

    In frameworks that have a method for inference, whose absence `check` looks for: in torch.
    """
    thing = file.objects.thing(node)
    if thing is None or thing.kind != "net" or thing.net is None:
        return False
    inside = set(ast.walk(thing.net))
    told = (site for site in file.sites if site.form.dialect.room("source").INFERENCE)
    return any(site.node in inside for site in told)


def _frozen(node: ast.AST, file: Linted) -> tuple[ast.expr, str] | None:
    """The layer whose gradients are switched off here, and which parameter; empty for all."""
    match node:
        case ast.Assign(
            targets=[ast.Attribute(value=parameter, attr="requires_grad")],
            value=ast.Constant(value=False),
        ):
            if isinstance(parameter, ast.Attribute):
                return parameter.value, parameter.attr
            return _looped(parameter, node, file)
        case ast.Call(
            func=ast.Attribute(value=of, attr="requires_grad_"), args=args, keywords=keys
        ):
            values = [*args, *(k.value for k in keys)]
            if not any(isinstance(v, ast.Constant) and v.value is False for v in values):
                return None
            if file.layer(of) is not None:
                return of, ""
            if isinstance(of, ast.Attribute):
                return of.value, of.attr
            return _looped(of, node, file)
    return None


def _looped(parameter: ast.expr, node: ast.AST, file: Linted) -> tuple[ast.expr, str] | None:
    """The layer whose parameters the loop around a node goes through."""
    for outer in file.source.around(node):
        if isinstance(outer, ast.For) and isinstance(parameter, ast.Name):
            names = {n.id for n in ast.walk(outer.target) if isinstance(n, ast.Name)}
            match outer.iter:
                case ast.Call(func=ast.Attribute(value=of, attr=method)):
                    if parameter.id in names and method in _PARAMETERS:
                        return of, ""
    return None


RULE = Rule("BN010", "frozen-by-gradient-only", check, ("frozen-layer",))
