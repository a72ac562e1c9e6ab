"""What to write in the port, in its framework's words: by `translate` and the framework's room."""

from __future__ import annotations

from batchnorm import frameworks
from batchnorm.diagnose.causes import CAUSES
from batchnorm.diagnose.finding import Finding
from batchnorm.diagnose.recording import Node, Recording
from batchnorm.errors import BatchNormError

__all__ = ["fix_of"]

# Which of the meanings of a batch norm's parameters a cause is about.
MEANINGS = {
    "momentum-inverted": ("weight_of_batch", "weight_of_running"),
    "momentum-differs": ("weight_of_batch", "weight_of_running"),
    "epsilon-differs": ("epsilon",),
    "axis-differs": ("channel_axis", "data_format"),
    "affine-missing": ("affine", "has_gamma", "has_beta", "train_affine", "beta_if_affine"),
}


def fix_of(finding: Finding, source: Recording, port: Recording) -> str:
    """A few words, such as `momentum=0.9`; "" where nothing is known."""
    mine, own = source.node(finding.layers[0]), port.node(finding.port_layers[0])
    if finding.cause in MEANINGS:
        return _argument(finding.cause, mine, own)
    if finding.cause == "mode-differs" and own.dialect is not None:
        record = frameworks.find(own.dialect)
        if record.has("running"):
            wanted = "training" in str(finding.evidence.get("source in", "")) or "batch" in str(
                finding.evidence.get("source", "")
            )
            return str(record.room("running").CALLS[wanted])
    if finding.cause in ("padding-differs", "stride-differs", "activation-differs"):
        return f"as in the source: {finding.evidence.get('source', '')}"
    if finding.evidence.get("of") == "the loss":
        return "reduce the loss alike: both a mean or both a sum, over as many batches"
    if finding.cause == "scale-differs":
        return "leave the scaling out, or do it on both sides"
    return CAUSES[finding.cause].fix


def _argument(cause: str, mine: Node, own: Node) -> str:
    """The argument of the port's call that makes it what the source's is."""
    from batchnorm.translate import translate  # most users of the package never need it

    if mine.dialect is None or own.dialect is None:
        return ""
    declared = frameworks.declaration_of(mine.dialect)
    try:
        layer = getattr(declared, mine.class_name)(**mine.arguments)
        if mine.dialect == own.dialect:
            call, values = "", dict(mine.arguments)
        else:
            found = translate(layer, to=own.dialect)
            call, values = found.text, found.arguments
        parameters = getattr(frameworks.declaration_of(own.dialect), own.class_name).PARAMETERS
    except BatchNormError:
        return ""
    words = MEANINGS[cause]
    wanted = [
        f"{name}={values.get(name, parameter.default)!r}"
        for name, parameter in parameters.items()
        if parameter.meaning.word in words
    ]
    return ", ".join(wanted) or call
