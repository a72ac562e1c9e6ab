"""BN013: an argument that only another framework's layer has."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from batchnorm.frameworks import current, find
from batchnorm.lint.linted import Linted
from batchnorm.lint.rule import Hit, Rule
from batchnorm.translate.form import forms

__all__ = ["RULE"]


def check(file: Linted) -> Iterator[Hit]:
    """An argument has another framework's name: `epsilon=` for a MindSpore layer.

    ## What is found

    Keyword arguments that the layer's class doesn't have, and another framework's has: `epsilon`
    beside `eps`, `track_running_stats` on MindSpore's layer, `affine` on Keras'. Names that no
    framework has are not reported, nor is what stands in a dictionary that can't be read.

    ## Why it matters

    The call fails with a TypeError (Keras: a ValueError), but only when the line is reached. What
    the argument was to say is often another number here, or has no counterpart.

    ## Example

    ```python
    from mindspore import nn

    norm = nn.BatchNorm2d(64, epsilon=1e-3)
    ```

    ## How to fix it

    `batchnorm translate` writes the call for another framework.

    ```python
    from mindspore import nn

    norm = nn.BatchNorm2d(64, eps=1e-3)
    ```
    """
    for site in file.sites:
        if site.layer is not None:
            continue
        for keyword in site.node.keywords:
            name = keyword.arg or ""
            if name and name not in site.form.parameters and name in _theirs(site.framework):
                owners = ", ".join(_theirs(site.framework)[name])
                layer = f"{site.framework}'s {site.symbol.name}"
                yield keyword.value, f"{layer} has no {name}, which is {owners}'s"


@cache
def _theirs(framework: str) -> dict[str, list[str]]:
    """Parameter -> the frameworks that have it, beside those that this one has itself."""
    own = {name for form in forms(find(framework)).values() for name in form.parameters}
    found: dict[str, list[str]] = {}
    for record in current():
        for name in {n for form in forms(record).values() for n in form.parameters}:
            if name not in own:
                found.setdefault(name, []).append(record.name)
    return found


RULE = Rule("BN013", "argument-of-another-framework", check)
