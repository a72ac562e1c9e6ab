"""BN012: an epsilon that is something else, mostly a momentum in the wrong place."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from decimal import Decimal

from batchnorm.lint.fix import Fix, inverted, put
from batchnorm.lint.linted import Linted
from batchnorm.lint.number import Number, numbers
from batchnorm.lint.rule import Hit, Rule
from batchnorm.lint.rules.inverted_momentum import THRESHOLD
from batchnorm.lint.site import Site

__all__ = ["LARGEST", "RULE"]

LARGEST = Decimal("0.1")
"""The epsilons that people choose are far smaller; docs/rules/measured.md has the numbers."""


def check(file: Linted) -> Iterator[Hit]:
    """What is given as epsilon is a momentum, or a number of channels.

    ## What is found

    An epsilon of 0.1 or more: a literal, a constant of the file, or a parameter's default. And an
    epsilon that is the same expression as the number of channels, or is called momentum. Files of
    tests (`test_*.py`, `*_test.py`) are passed over.

    ## Why it matters

    The second positional argument of torch's and MindSpore's layers is epsilon; of Keras' layer it
    is momentum. `BatchNorm2d(64, 0.8)` therefore adds 0.8 to every variance: for inputs of
    standard deviation 0.5 the outputs have a standard deviation of 0.49 where they should have 1.
    Nothing fails, and nets learn around it.

    ## Example

    PyTorch-GAN was ported from Keras-GAN, whose `BatchNormalization(momentum=0.8)` became
    ([its issue 116](https://github.com/eriklindernoren/PyTorch-GAN/issues/116)):

    ```python
    from torch import nn

    norm = nn.BatchNorm2d(64, 0.8)
    ```

    ## How to fix it

    Name the argument, and invert it (`--unsafe-fixes` takes the number for a momentum):

    ```python
    from torch import nn

    norm = nn.BatchNorm2d(64, momentum=0.2)
    ```
    """
    for site in file.sites:
        epsilon = site.given("epsilon")
        if epsilon is None:
            continue
        every, text = numbers(epsilon, file.names), file.text(epsilon)
        found = next((n for n in every if n.value >= LARGEST), every[0] if every else None)
        name = site.parameter("epsilon").name
        channels = site.given("num_features")
        if found is not None and found.value >= LARGEST:
            message = (
                f"{name} {found.value} of {site.symbol.name}{file.layer_of(site, found)} is added "
                "to the variance; is it a momentum? Then name the argument"
            )
            yield Hit(found.node, message, _momentum_instead(site, found, file))
        elif found is None and (
            (channels is not None and text == file.text(channels)) or _momentum(epsilon)
        ):
            said = f"{text} is given as {name} of {site.symbol.name}; name the arguments"
            yield Hit(epsilon, said)


def _momentum_instead(site: Site, found: Number, file: Linted) -> Fix | None:
    """`momentum=…` in the framework's own sense, where none is given."""
    node, last = found.node, site.node.args[-1] if site.node.args else None
    keyword = file.source.parents[node]
    if site.momentum is not None or site.layer is not None or node is not site.given("epsilon"):
        return None
    turned = (found.value > THRESHOLD) == site.weighs_batch
    text = inverted(found.value) if turned else f"{found.value:f}"
    place = keyword if isinstance(keyword, ast.keyword) else node if node is last else None
    if place is None or not 0 < found.value < 1:
        return None
    return put(file, [(place, f"momentum={text}")], safe=False)


def _momentum(node: ast.expr) -> bool:
    last = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return "momentum" in last.lower() or last.lower() in ("bn_mom", "mom")


RULE = Rule(
    "BN012",
    "epsilon-that-is-none",
    check,
    ("default-epsilon", "epsilon-above-one"),
    in_tests=False,
)
