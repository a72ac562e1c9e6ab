"""BN013: an argument that only another framework's layer has."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache

from batchnorm.frameworks import current, find
from batchnorm.lint.fix import Fix, argued, put
from batchnorm.lint.linted import Linted
from batchnorm.lint.rule import Hit, Rule
from batchnorm.lint.site import Site
from batchnorm.translate.form import forms

__all__ = ["RULE"]


def check(file: Linted) -> Iterator[Hit]:
    """An argument has another framework's name: `epsilon=` for a MindSpore layer.

    ## What is found

    Keyword arguments that the layer's class doesn't have, and another framework's has: `epsilon`
    beside `eps`, `track_running_stats` on MindSpore's layer, `affine` on Keras'. Names that no
    framework has are not reported, nor is what stands in a dictionary that can't be read. What
    `import keras` gave before Keras 3 is reported only with `--ported-from tf_keras`: the file may
    be for Keras 2.

    ## Why it matters

    The call fails with a TypeError (Keras: a ValueError), but only when the line is reached. What
    the argument was to say is often another number here, or has no counterpart.

    ## Example

    ```python
    from mindspore import nn

    norm = nn.BatchNorm2d(64, epsilon=1e-3)
    ```

    ## How to fix it

    `--fix` renames epsilon, and leaves out what says a default that both have;
    `batchnorm translate` writes the whole call for another framework.

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
            if not name or name in site.form.parameters:
                continue
            owners = _theirs(site.framework).get(name, [])
            meant = any(find(owner).lineage == site.framework for owner in owners)
            if owners and not (meant and file.ported_from not in owners):
                layer = f"{site.framework}'s {site.symbol.name}"
                message = f"{layer} has no {name}, which is {', '.join(owners)}'s"
                yield Hit(keyword.value, message, _own(site, keyword, file))


def _own(site: Site, keyword: ast.keyword, file: Linted) -> Fix | None:
    """The argument by this framework's name, or none where it says a default that both have."""
    name = str(keyword.arg)
    theirs = [form.parameters[name] for record in current() for form in forms(record).values()
              if name in form.parameters]  # fmt: skip
    meanings = {parameter.meaning for parameter in theirs}
    said = keyword.value
    plain = isinstance(said, ast.Constant) and said.value in (True, False, None)
    if plain and all(parameter.default is said.value for parameter in theirs):  # type: ignore[attr-defined]
        return argued(file, site.node, dropped=[said])
    for own in site.form.parameters.values():
        if (
            meanings == {own.meaning}
            and own.meaning.word == "epsilon"
            and not site.given("epsilon")
        ):
            return put(file, [(keyword, f"{own.name}={file.source.text(said)}")])
    return None


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
