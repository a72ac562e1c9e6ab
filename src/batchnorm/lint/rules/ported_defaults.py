"""BN003: epsilon or momentum left at a default that the port's source doesn't have."""

from __future__ import annotations

from collections.abc import Iterator

from batchnorm.frameworks import find
from batchnorm.lint.fix import argued
from batchnorm.lint.linted import Linted
from batchnorm.lint.rule import Hit, Rule
from batchnorm.lint.site import Site
from batchnorm.translate.argument import complement
from batchnorm.translate.form import forms
from batchnorm.translate.reading import default_of

__all__ = ["RULE"]


def check(file: Linted) -> Iterator[Hit]:
    """A port leaves epsilon or momentum at a default that the original's framework doesn't have.

    ## What is found

    Layers that are made without epsilon or without momentum, in a file that says which framework
    it was ported from, where that framework's default is another one. A file says so in a comment,
    `# batchnorm: ported-from torch`; for all files, `--ported-from torch` does, or
    `ported-from = "torch"` in pyproject.toml. Without that, nothing is reported. Calls with starred
    arguments that can't be read and `functools.partial` are passed over.

    ## Why it matters

    Defaults differ tenfold and more: epsilon is 1e-5 in torch and MindSpore and 1e-3 in Keras, the
    new batch weighs 0.1 in torch and MindSpore and 0.01 in Keras. Converted weights then give
    slightly other outputs (where a channel's variance is 0.01, epsilon 1e-3 makes them 5 % smaller)
    and fine-tuning follows new data ten times slower.

    ## Example

    ```python
    # batchnorm: ported-from torch
    import keras

    norm = keras.layers.BatchNormalization(axis=-1)
    ```

    What this rule can't see: numbers that the original set itself. torchvision's MobileNetV3 sets
    both in a `partial`, and MindCV's port (`mindcv/models/mobilenetv3.py`) lost both.

    ## How to fix it

    Write the original's numbers out, as `--fix` and `batchnorm rewrite` do:

    ```python
    # batchnorm: ported-from torch
    import keras

    norm = keras.layers.BatchNormalization(axis=-1, epsilon=1e-05, momentum=0.9)
    ```
    """
    for site in () if file.ported_from is None else file.sites:
        found = _arguments(file, site)
        if found and site.layer is None:
            message = (
                f"{site.symbol.name} leaves to {site.framework}'s default what is another number "
                f"in {find(file.ported_from or '').name}: write {', '.join(found)}"
            )
            yield Hit(site.node, message, argued(file, site.node, added=found))


def _arguments(file: Linted, site: Site) -> list[str]:
    """The arguments that say what the original's defaults say, and that a site doesn't give."""
    original = None if file.ported_from is None else find(file.ported_from)
    if original is None or not site.complete or site.framework == original.framework:
        return []
    source = next(iter(forms(original).values()))
    pairs = [("epsilon",), ("weight_of_batch", "weight_of_running")]
    found = [_missing(site, source.parameters.values(), words) for words in pairs]
    return [text for text in found if text]


def _missing(site: Site, theirs: object, words: tuple[str, ...]) -> str:
    """The argument that would say what the original's default says; empty if it needs none."""
    if site.given(*words) is not None:
        return ""
    ours = site.parameter(*words)
    parameter = next(p for p in theirs if p.meaning.word in words)  # type: ignore[attr-defined]
    wanted = default_of(parameter)
    if parameter.meaning.word != ours.meaning.word:
        wanted = complement(wanted)
    return "" if wanted.value == default_of(ours).value else f"{ours.name}={wanted.text}"


RULE = Rule(
    "BN003",
    "default-of-another-framework",
    check,
    ("default-epsilon", "default-weight-of-the-new-batch"),
)
