"""BN002: a momentum of 0 or 1, with which the running statistics stand still or hold no average."""

from __future__ import annotations

from collections.abc import Iterator

from batchnorm.lint.linted import Linted
from batchnorm.lint.number import number, numbers
from batchnorm.lint.rule import Hit, Rule
from batchnorm.lint.site import Site

__all__ = ["RULE"]

_TYPED = 9  # digits of a number that somebody types; a float32 written out has more


def check(file: Linted) -> Iterator[Hit]:
    """The momentum is 0 or 1: the running statistics never move, or hold the last batch only.

    ## What is found

    A momentum that is 0 or 1: a literal, a constant of the file, or a parameter's default.
    `momentum=None`, torch's cumulative average, is not reported. Files of tests (`test_*.py`,
    `*_test.py`) are passed over: they choose such numbers on purpose. So are layers whose epsilon
    has a float32's digits, as 0.0010000000474974513: a converter wrote them, for inference.

    ## Why it matters

    The two numbers do opposite things in the frameworks. With 0, torch never moves the running
    statistics, while MindSpore and Keras forget everything but the last batch; with 1 it is the
    other way round. Where they never move, evaluation normalizes by the initial mean 0 and
    variance 1, unless a checkpoint was loaded; where they hold the last batch, evaluation depends
    on which batch that was.

    ## Example

    Whoever wants frozen statistics and carries torch's number over gets the opposite:

    ```python
    import keras

    norm = keras.layers.BatchNormalization(momentum=0.0)
    ```

    ## How to fix it

    To freeze the statistics, use what the framework has for it, which also normalizes by them:
    `.eval()` in torch, `use_batch_statistics=False` in MindSpore, `trainable=False` in Keras. To
    average over all batches, use `momentum=None` in torch.

    ```python
    import keras

    norm = keras.layers.BatchNormalization(trainable=False)
    ```
    """
    for site in file.sites:
        if site.momentum is None or not site.averages or _converted(site, file):
            continue
        for found in numbers(site.momentum, file.names):
            if found.value not in (0, 1):
                continue
            still = (found.value == 0) == site.weighs_batch
            what = "never move" if still else "hold the last batch only"
            message = (
                f"with momentum {found.value} the running statistics of {site.framework}'s "
                f"{site.symbol.name}{file.layer_of(site, found)} {what}"
            )
            yield Hit(found.node, message)


def _converted(site: Site, file: Linted) -> bool:
    """Whether the epsilon is a float32 written out, which no one types."""
    epsilon = site.given("epsilon")
    found = None if epsilon is None else number(epsilon, file.names)
    return found is not None and len(found.value.normalize().as_tuple().digits) > _TYPED


RULE = Rule(
    "BN002",
    "extreme-momentum",
    check,
    ("momentum-of-one", "weight-of-the-new-batch"),
    in_tests=False,
)
