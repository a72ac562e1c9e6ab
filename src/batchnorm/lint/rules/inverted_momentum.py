"""BN001: a momentum that was carried over from a framework that means the opposite by it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from decimal import Decimal

from batchnorm.frameworks import find
from batchnorm.lint.fix import Fix, inverted, put
from batchnorm.lint.linted import Linted
from batchnorm.lint.number import Number, numbers
from batchnorm.lint.rule import Hit, Rule
from batchnorm.source.class_values import others

__all__ = ["RULE", "THRESHOLD"]

THRESHOLD = Decimal("0.5")
"""Between the two conventions; docs/rules/measured.md has the numbers that it is taken from."""


def check(file: Linted) -> Iterator[Hit]:
    """The momentum looks like the other convention's: it was copied where it must be inverted.

    torch's `momentum` is the weight of the new batch, MindSpore's and Keras' is the weight of the
    old value. What is 0.1 in torch is 0.9 in MindSpore and Keras.

    ## What is found

    A momentum above 0.5 given to a torch layer, and one below 0.5 given to a MindSpore or Keras
    layer: a literal, a constant, an attribute that the class gives itself, a parameter's default,
    what stands in for None, an entry of a dictionary that is only read, what is put into one before
    the call (`kwargs.setdefault("momentum", 0.1)`), a field of a dataclass, an option's default
    (argparse, click, flags; the parser may stand in another file, or beside it), what a settings
    object is given; also where a helper makes the layer, of this file or of another of the same
    tree. People choose momenta that
    let the running statistics average over many batches, so the weight of the new batch is far
    below one half: of the momenta written in the code that this rule was tried on, the right ones
    lie between 0.0003 and 0.2 in torch's sense, and none between 0.2 and 0.8
    ([measured](measured.md)). Exactly 0.5 means the same both ways and is not reported; 0 and 1 are
    [BN002](BN002.md). Files of tests (`test_*.py`, `*_test.py`) are passed over, and layers
    whose statistics never move (`use_batch_statistics=False`, `track_running_stats=False`).

    ## Why it matters

    With the weights exchanged the running statistics are those of the last batch or two instead
    of the last ten or hundred. Training looks healthy, since it normalizes by the batch;
    evaluation is noisy, and depends on what the last batches happened to be.

    ## Example

    MindOCR 0.5.0 builds the layers of its ABINet backbone
    (`mindocr/models/backbones/rec_abinet_backbone.py`) with torch's default, written out:

    ```python
    from mindspore import nn

    norm = nn.BatchNorm2d(64, momentum=0.1)
    ```

    ## How to fix it

    Write one minus the number, in decimal, as `batchnorm translate` and `batchnorm rewrite` do:

    ```python
    from mindspore import nn

    norm = nn.BatchNorm2d(64, momentum=0.9)
    ```

    `--fix` does it where a literal stands in the layer's own call, `--unsafe-fixes` also in
    constants, defaults, attributes and arguments of helpers, which others may read.

    `F.batch_norm` and MindSpore's `ops.batch_norm` take the weight of the new batch, unlike
    MindSpore's layers: 0.9 there is reported as well.

    If a weight this large is what you want, say so with `# noqa: BN001`.
    """
    yield from _functions(file)
    reached: dict[ast.expr, set[bool]] = {}  # number -> in which of the two senses it is read
    given = [
        (site, found)
        for site in file.sites
        if site.momentum is not None and site.averages
        for found in numbers(site.momentum, file.names)
    ]
    for site, found in given:
        reached.setdefault(found.node, set()).add(site.weighs_batch)
    for site, found in given:
        if not 0 < found.value < 1 or found.value == THRESHOLD:
            continue
        if (found.value < THRESHOLD) == site.weighs_batch:
            continue
        of = "the new batch" if site.weighs_batch else "the old value"
        theirs = "Keras' or MindSpore's" if site.weighs_batch else "torch's"
        said = f" ({found.elsewhere})" if found.elsewhere else ""
        message = (
            f"momentum {found.value}{said} of {site.symbol.name}{file.layer_of(site, found)} "
            f"is the weight of {of} in {site.framework}; write {1 - found.value} if "
            f"{found.value} is {theirs} number"
        )
        own = site.layer is None and found.node is site.momentum
        own = own and not others(file.names, site.node.func)
        alone = len(reached[found.node]) == 1
        yield Hit(found.node, message, _other(file, found, own=own) if alone else None)


_PLACES = {"batch_norm": 6, "BatchNorm": 2}
"""Function (of torch's form) -> where its momentum stands: the weight of the new batch in all."""


def _functions(file: Linted) -> Iterator[Hit]:
    """Functions without a layer, whose momentum is torch's in MindSpore as well."""
    for call in file.calls(file.source.tree):
        symbol = file.names.symbol(call.func)
        if symbol is None or symbol.kind != "function" or find(symbol.framework).is_keras:
            continue
        place = _PLACES.get(symbol.name)
        given = next((k.value for k in call.keywords if k.arg == "momentum"), None)
        if given is None and place is not None and len(call.args) > place:
            given = call.args[place]
        for found in () if given is None or place is None else numbers(given, file.names):
            if THRESHOLD < found.value < 1:
                message = (
                    f"momentum {found.value} of {file.text(call.func)} is the weight of the new "
                    f"batch, unlike that of MindSpore's and Keras' layers; write {1 - found.value} "
                    "if it is theirs"
                )
                yield Hit(found.node, message, _other(file, found, own=found.node is given))


def _other(file: Linted, found: Number, *, own: bool) -> Fix | None:
    """One minus the number, where it stands; sure where nothing else can read it."""
    text = inverted(found.value)
    computed = any(isinstance(n, ast.Name | ast.Attribute) for n in ast.walk(found.node))
    if not text or found.elsewhere or computed:
        return None
    direct = isinstance(file.source.parents[found.node], ast.Call | ast.keyword)
    safe = own and direct and isinstance(found.node, ast.Constant)
    return put(file, [(found.node, text)], safe=safe)


RULE = Rule(
    "BN001",
    "inverted-momentum",
    check,
    ("weight-of-the-new-batch", "default-weight-of-the-new-batch"),
    in_tests=False,
)
