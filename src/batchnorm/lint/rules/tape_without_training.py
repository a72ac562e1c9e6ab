"""BN015: a Keras net that is trained with a tape, and not told that it trains."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from batchnorm.frameworks import find
from batchnorm.lint.fix import argued
from batchnorm.lint.linted import Linted
from batchnorm.lint.rule import Hit, Rule
from batchnorm.source import names_a_batch_norm

__all__ = ["RULE"]

_WEIGHTS = re.compile(r"(?i)trainable|weight|var|param")


def check(file: Linted) -> Iterator[Hit]:
    """A Keras net is called inside a GradientTape without `training=`: batch norm infers.

    ## What is found

    In a `with tf.GradientTape()` whose tape isn't asked for gradients of an input alone: a call
    of a net that the file makes of Keras' parts, without `training`; if the file names a batch
    norm. Inside a method `call`, which is told the mode itself, nothing is reported, nor where
    `set_learning_phase` is called.

    ## Why it matters

    `fit` tells its net that it trains; a loop of one's own has to. Without `training=True` batch
    norms normalize by their initial statistics, mean 0 and variance 1, which never move.

    ## Example

    ```python
    import keras
    import tensorflow as tf

    net = keras.Sequential([keras.layers.Conv2D(8, 3), keras.layers.BatchNormalization()])
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((net(x) - y) ** 2)
    grads = tape.gradient(loss, net.trainable_variables)
    ```

    ## How to fix it

    `--unsafe-fixes` writes it; a frozen net is told `training=False` instead.

    ```python
    import keras
    import tensorflow as tf

    net = keras.Sequential([keras.layers.Conv2D(8, 3), keras.layers.BatchNormalization()])
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((net(x, training=True) - y) ** 2)
    grads = tape.gradient(loss, net.trainable_variables)
    ```
    """
    data = file.source.data
    if not names_a_batch_norm(data) or b"trainable" not in data or b"learning_phase" in data:
        return
    for node in file.nodes:
        if not isinstance(node, ast.With):
            continue
        if not any("GradientTape" in file.source.text(item.context_expr) for item in node.items):
            continue
        if not _of_weights(node, file):
            continue
        for call in file.calls(node):
            thing = file.objects.thing(call.func)
            if thing is None or thing.kind not in ("net", "list") or not _is_keras(call, file):
                continue
            told = any(keyword.arg in ("training", None) for keyword in call.keywords)
            if not told and len(call.args) == 1 and not isinstance(call.args[0], ast.Starred):
                message = (
                    f"{file.text(call)} in a tape, without training=True: Keras' batch norms "
                    "normalize by their running statistics, which don't move"
                )
                fix = argued(file, call, added=["training=True"], safe=False)
                yield Hit(call, message, fix)


def _of_weights(tape: ast.With, file: Linted) -> bool:
    """Whether a tape is asked for gradients by weights, as far as the function around says."""
    names = {getattr(item.optional_vars, "id", "") for item in tape.items}
    asked = [
        file.text(call.args[1])
        for call in file.calls(file.function(tape))
        if isinstance(call.func, ast.Attribute) and call.func.attr == "gradient"
        and getattr(call.func.value, "id", None) in names and len(call.args) > 1
    ]  # fmt: skip
    return not asked or any(_WEIGHTS.search(text) for text in asked)


def _is_keras(call: ast.Call, file: Linted) -> bool:
    """Whether the file imports Keras, and the call isn't in a layer that is told the mode."""
    inside = file.function(call)
    imported = any(find(name).is_keras for name in file.frameworks)
    return imported and getattr(inside, "name", "") != "call"


RULE = Rule("BN015", "tape-without-training", check, ("mode-of-a-new-layer",))
