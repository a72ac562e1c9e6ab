"""BN011: settings changed on a finished layer, which the framework doesn't look at again."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from batchnorm.frameworks import find
from batchnorm.lint.linted import Linted
from batchnorm.lint.rule import Hit, Rule

__all__ = ["RULE"]


def check(file: Linted) -> Iterator[Hit]:
    """A setting is changed on a finished layer, where the framework ignores it.

    ## What is found

    Assignments (and `setattr` with a literal name) to a layer that is known to be MindSpore's:
    `eps`, `momentum`, `data_format` and the initial values; of MindSpore's and torch's
    also `affine = False`, unless the function sees to `requires_grad`, which does keep the weights.
    `num_features` is not reported, which code that prunes channels keeps in step with the arrays.

    torch's `track_running_stats = False` is not reported: it does stop the updates in training,
    though evaluation goes on using the running statistics while they are there.

    ## Why it matters

    MindSpore hands its settings to a kernel when the layer is made; assigning later changes the
    attribute and nothing else. torch does honour `eps` and `momentum`, and loops such
    as YOLOv5's that set them on all layers are carried over in good faith. On MindSpore `momentum`
    also holds one minus what was given, so what is read from it is torch's number.

    ## Example

    PVNet in MindSpore's model zoo (`official/cv/PVNet/src/resnet.py`):

    ```python
    from mindspore import nn


    def settle(net):
        for m in net.cells():
            if isinstance(m, nn.BatchNorm2d):
                m.momentum = 0.1
    ```

    ## How to fix it

    Give the setting to the constructor:

    ```python
    from mindspore import nn

    norm = nn.BatchNorm2d(64, momentum=0.9)
    ```
    """
    for node in file.nodes:
        for of, name in _assigned(node):
            thing = file.layer(of)
            framework = "" if thing is None else file.framework(thing)
            ignored = find(framework).room("source").IGNORED if framework else ()
            if name in ignored and not (name == "affine" and _harmless(node, file)):
                message = (
                    f"{framework} ignores {name} on a finished layer: {file.text(of)} goes on as "
                    "it was made; give it to the constructor"
                )
                yield Hit(node, message)


def _harmless(node: ast.AST, file: Linted) -> bool:
    """Whether a layer keeps the scale and shift that it has, as the code means it to, or nearly."""
    said = node.value if isinstance(node, ast.Assign) else getattr(node, "args", [None])[-1]
    around = ast.walk(file.function(node))
    frozen = any(getattr(each, "attr", "") == "requires_grad" for each in around)
    return frozen or not (isinstance(said, ast.Constant) and said.value is False)


def _assigned(node: ast.AST) -> Iterator[tuple[ast.expr, str]]:
    match node:
        case ast.Assign(targets=targets):
            for target in targets:
                if isinstance(target, ast.Attribute):
                    yield target.value, target.attr
        case ast.Call(func=ast.Name(id="setattr"), args=[of, ast.Constant(value=str() as name), _]):
            yield of, name


RULE = Rule(
    "BN011", "setting-changed-too-late", check, ("momentum-changed-later", "epsilon-changed-later")
)
