"""BN014: a net that is set to inference inside its training loop, and never back."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from batchnorm.frameworks import find
from batchnorm.lint.fix import line_before
from batchnorm.lint.linted import Linted
from batchnorm.lint.rule import Hit, Rule
from batchnorm.source import names_a_batch_norm

__all__ = ["RULE"]

_TRAINS = re.compile(
    r"\.backward\(|optim\w*\.step\(|optimizer\w*\(|\bgrads?\b|gradients|train_step"
)
_BACK = re.compile(r"\.(set_)?train\(\s*(mode\s*=\s*)?(True)?\s*\)")


def check(file: Linted) -> Iterator[Hit]:
    """A net is set to inference inside the training loop and never back.

    ## What is found

    In torch and MindSpore: a loop that trains (it takes gradients or steps an optimizer), sets a
    net to inference right in its body (`net.eval()`, `net.set_train(False)`), and nowhere inside
    sets a mode back, nor does a function of the file that it calls. Only in files that name a batch
    norm.

    ## Why it matters

    From the second epoch on the net trains in inference mode: batch norms normalize by what the
    running statistics were after the first epoch, and these stand still. The loss still goes down.

    ## Example

    ```python
    from mindspore import nn

    net = nn.SequentialCell(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    net.set_train()
    for epoch in range(9):
        for batch in batches:
            loss, grads = step(batch)
        net.set_train(False)
        print(check(net))
    ```

    ## How to fix it

    `--unsafe-fixes` writes the line, if the loop trains what it sets to inference.

    ```python
    from mindspore import nn

    net = nn.SequentialCell(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    net.set_train()
    for epoch in range(9):
        net.set_train()
        for batch in batches:
            loss, grads = step(batch)
        net.set_train(False)
        print(check(net))
    ```
    """
    if not any(find(name).calls.mode_method for name in file.frameworks):
        return
    if not names_a_batch_norm(file.source.data):
        return
    functions = {n.name: n for n in file.nodes if isinstance(n, ast.FunctionDef)}
    for loop in file.nodes:
        if not isinstance(loop, ast.For | ast.While):
            continue
        calls = [s.value for s in loop.body if isinstance(s, ast.Expr)]
        off = next((c for c in calls if isinstance(c, ast.Call) and _switches_off(c)), None)
        if off is None:
            continue
        text = file.source.text(loop)
        called = {getattr(c.func, "id", getattr(c.func, "attr", "")) for c in file.calls(loop)}
        within = [text, *(file.source.text(functions[n]) for n in called if n in functions)]
        before = [s for s in loop.body if s.lineno < off.lineno]
        trains = any(_TRAINS.search(file.source.text(s)) for s in before)
        if trains and not any(_BACK.search(each) for each in within):
            message = (
                f"{file.text(off)} in the loop that trains (line {file.place(loop)[0]}), and "
                "nothing in it sets the mode back: from the second round on it trains in inference "
                "mode"
            )
            func = off.func
            assert isinstance(func, ast.Attribute)
            method = "set_train" if func.attr == "set_train" else "train"
            back = f"{file.source.text(func.value)}.{method}()"
            yield Hit(off, message, line_before(file, loop.body[0], back))


def _switches_off(call: ast.Call) -> bool:
    match call:
        case ast.Call(func=ast.Attribute(attr="eval", value=ast.Name()), args=[], keywords=[]):
            return True
        case ast.Call(func=ast.Attribute(attr="set_train" | "train"), args=args, keywords=keywords):
            given = [*args, *(keyword.value for keyword in keywords)]
            (value,) = given if len(given) == 1 else (None,)
            return isinstance(value, ast.Constant) and value.value is False
    return False


RULE = Rule("BN014", "inference-mode-for-ever", check)
