"""BN006: use_batch_statistics=True, with which MindSpore trains its statistics in evaluation."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from batchnorm.lint.fix import argued
from batchnorm.lint.linted import Function, Linted
from batchnorm.lint.rule import Hit, Rule

__all__ = ["RULE"]


def check(file: Linted) -> Iterator[Hit]:
    """`use_batch_statistics=True` makes a MindSpore layer normalize by the batch in evaluation.

    ## What is found

    `use_batch_statistics=True` as a literal in a constructor's call. A variable is not reported:
    nets that are built once for training and once for evaluation choose it on purpose; nor is the
    attribute set later, which nobody does by habit.

    ## Why it matters

    It looks like torch's default `track_running_stats=True`, and is not: with it, evaluation
    normalizes every batch by its own statistics, so an image's result depends on the images beside
    it, and every evaluation moves the running statistics. The default, None, goes by the mode.

    ## Example

    MindOCR 0.5.0 carries a copy of MindCV's XCiT (`backbones/mindcv_models/xcit.py`), in which
    MindCV itself has since corrected it:

    ```python
    from mindspore import nn

    norm = nn.BatchNorm2d(64, use_batch_statistics=True)
    ```

    ## How to fix it

    Leave it out (`--unsafe-fixes` does), unless a net such as a GAN's generator wants it.

    ```python
    from mindspore import nn

    norm = nn.BatchNorm2d(64)
    ```
    """
    for site in file.sites:
        given = site.arguments.get("use_batch_statistics")
        if isinstance(given, ast.Constant) and given.value is True and not _once(site.node, file):
            message = (
                "use_batch_statistics=True normalizes by the batch in evaluation as well, and "
                "moves the running statistics there; leave it out to go by set_train"
            )
            fix = argued(file, site.node, dropped=[given], safe=False)
            yield Hit(given, message, fix)


def _once(made: ast.AST, file: Linted) -> bool:
    """Whether a layer is made and called in the same function: it has no statistics to go by."""
    assigned, function = file.source.parents.get(made), file.function(made)
    targets = assigned.targets if isinstance(assigned, ast.Assign) else []
    names = {target.id for target in targets if isinstance(target, ast.Name)}
    return isinstance(function, Function) and any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names
        for node in ast.walk(function)
    )


RULE = Rule("BN006", "batch-statistics-always", check, ("forced-batch-statistics",))
