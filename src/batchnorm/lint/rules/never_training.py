"""BN007: a MindSpore net that is trained, and never told so."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from batchnorm.frameworks import find
from batchnorm.lint.fix import Fix, line_before
from batchnorm.lint.linted import Function, Linted
from batchnorm.lint.rule import Hit, Rule
from batchnorm.source import SourceError, contents, names_a_batch_norm
from batchnorm.source.exports import own_files

__all__ = ["RULE"]

_STEPS = {"TrainOneStepCell", "TrainOneStepWithLossScaleCell", "value_and_grad"}
_SET = re.compile(rb"\bset_train\((?!\s*(mode\s*=\s*)?False\b)|build_train_network|\.train\(")


def check(file: Linted) -> Iterator[Hit]:
    """A MindSpore net is trained without `set_train`: its batch norms stay in inference mode.

    ## What is found

    A file that makes a training step (`nn.TrainOneStepCell`, `nn.TrainOneStepWithLossScaleCell` or
    `value_and_grad`), calls it in a loop, itself or by a function, and calls `set_train` nowhere,
    or only as `set_train(False)`; if that file names a batch norm, or the file in its own folders
    from which it imports the class of the net that is trained. `Model(...).train`, which sets the
    mode by itself, is no such step.

    ## Why it matters

    MindSpore's layers start in inference mode, torch's in training mode. So the loop of a port
    normalizes by the initial statistics, mean 0 and variance 1, that is not at all: measured on
    MindSpore 2.10, in both execution modes, the running mean is still exactly 0 after the step.

    ## Example

    ```python
    import mindspore as ms
    from mindspore import nn

    net = nn.SequentialCell(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    optimizer = nn.SGD(net.trainable_params(), 0.1)
    step = ms.value_and_grad(lambda x: net(x).mean(), None, optimizer.parameters)
    for batch in batches:
        loss, gradients = step(batch)
        optimizer(gradients)
    ```

    ## How to fix it

    ```python
    import mindspore as ms
    from mindspore import nn

    net = nn.SequentialCell(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    optimizer = nn.SGD(net.trainable_params(), 0.1)
    step = ms.value_and_grad(lambda x: net(x).mean(), None, optimizer.parameters)
    net.set_train()
    for batch in batches:
        loss, gradients = step(batch)
        optimizer(gradients)
    ```
    """
    used = [find(name) for name in file.frameworks]
    packages = tuple(f"{r.real_package}." for r in used if r.calls.mode_method == "set_train")
    if not packages or _SET.search(file.source.data):
        return
    in_loops = [call for loop in file.nodes if isinstance(loop, ast.For | ast.While)
                for call in file.calls(loop)]  # fmt: skip
    for node in file.nodes:
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
            continue
        paths = file.names.paths(node.value.func)
        made = {path.rpartition(".")[2] for path in paths if path.startswith(packages)}
        if not made & _STEPS:
            continue
        steps = _callers({file.text(target) for target in node.targets}, file)
        looped = next((call for call in in_loops if file.text(call.func) in steps), None)
        if looped is not None and _has_batch_norms(file):
            message = (
                f"{file.text(looped.func)} is called in a loop (line {file.place(looped)[0]}), "
                "and nothing here calls set_train: MindSpore's batch norms stay in inference mode"
            )
            yield Hit(node, message, _told(looped, node, file))


def _told(looped: ast.Call, step: ast.AST, file: Linted) -> Fix | None:
    """`net.set_train()` before the loop, where one net is trained and the loop can see it."""
    around = file.source.around(looped)
    loop = next(n for n in around if isinstance(n, ast.For | ast.While))
    trained = {file.text(of) for of in _trained(file)}
    seen = file.function(loop) is file.function(step)
    return (
        line_before(file, loop, f"{trained.pop()}.set_train()")
        if len(trained) == 1 and seen
        else None
    )


def _trained(file: Linted) -> list[ast.expr]:
    """What is asked for its trainable parameters."""
    return [
        call.func.value
        for call in file.calls(file.source.tree)
        if isinstance(call.func, ast.Attribute) and call.func.attr == "trainable_params"
    ]


def _callers(steps: set[str], file: Linted) -> set[str]:
    """The names of steps, and of this file's functions that take them."""
    functions = [node for node in file.nodes if isinstance(node, Function)]
    found: set[str] = set()
    while steps - found:
        found |= steps
        for function in functions:
            if any(file.text(call.func) in found for call in file.calls(function)):
                steps = steps | {function.name, f"self.{function.name}"}
    return found


def _has_batch_norms(file: Linted) -> bool:
    """Whether the net that is trained is known to have a batch norm.

    Its class says so, where the file imports it from its own folders; else this file has to.
    """
    trained = {of.id for of in _trained(file) if isinstance(of, ast.Name)}
    made = {
        node.value.func.id
        for node in file.nodes
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
        if isinstance(node.value.func, ast.Name)
        if any(isinstance(t, ast.Name) and t.id in trained for t in node.targets)
    }
    for node in file.nodes:
        if not isinstance(node, ast.ImportFrom) or not node.module:
            continue
        if made & {alias.asname or alias.name for alias in node.names}:
            paths = own_files(file.path.resolve().parent, node.module, node.level)
            return any(_names_one(path) for path in paths)
    return names_a_batch_norm(file.source.data)


def _names_one(path: Path) -> bool:
    try:
        return names_a_batch_norm(contents(path))
    except (OSError, SourceError):
        return False


RULE = Rule("BN007", "never-in-training-mode", check, ("mode-of-a-new-layer",))
