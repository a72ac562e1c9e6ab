"""What MindSpore's two official difference pages say, in a few words each, and what answers it.

The pages: mindspore-ai/docs, note/api_mapping/pytorch_diff/BatchNorm2d.md and
tensorflow_diff/BatchNorm2d.md, r2.0. A verdict is never argued here: `official` prints the recorded
answers to the questions beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from batchnorm.questions.question import Text

__all__ = ["CLAIMS", "FILES", "TENSORFLOW", "TORCH", "VERSIONS", "Claim"]

# The two pages, by the dialects that they compare; and in which versions.
TORCH = ("torch", "mindspore")
TENSORFLOW = ("tf_keras", "mindspore")
FILES = {TORCH: "pytorch_diff/BatchNorm2d.md", TENSORFLOW: "tensorflow_diff/BatchNorm2d.md"}
VERSIONS = ("mindspore@2.0", "tf_keras@2.6")

WRONG, MISLEADING = Text("wrong"), Text("misleading")
SILENT = Text("silent")


@dataclass(frozen=True)
class Claim:
    """What a page says in a few words, or is silent about, and the questions that answer it."""

    id: str
    says: Text
    verdict: Text
    questions: tuple[str, ...]
    example: bool = False  # whether the page's own examples show it


CLAIMS: Mapping[tuple[str, str], tuple[Claim, ...]] = {
    TORCH: (
        Claim(
            "loads-from-checkpoint",
            Text("in inference mode, parameters are “loaded from the checkpoint”"),
            WRONG,
            ("inference-mode", "initial-running-statistics", "mode-of-a-new-layer"),
        ),
        Claim(
            "does-not-learn",
            Text("with track_running_stats=False, inference “does not learn weight and bias”"),
            WRONG,
            ("gradients-without-statistics",),
        ),
        Claim(
            "tracking-same-function",
            Text("track_running_stats and use_batch_statistics: “same function”"),
            WRONG,
            ("forced-batch-statistics", "forced-running-statistics", "tracking-switched-off-later"),
        ),
        Claim(
            "redundant-states",
            Text("MindSpore lacks “two redundant states”"),
            MISLEADING,
            ("layer-without-statistics", "forced-batch-statistics"),
        ),
        Claim(
            "affine-no-difference",
            Text("affine: “-”"),
            WRONG,
            ("without-affine", "initial-gamma-without-affine"),
        ),
        Claim(
            "eps-no-difference",
            Text("eps: “-”"),
            MISLEADING,
            ("zero-epsilon", "integer-epsilon", "epsilon-above-one"),
        ),
        Claim(
            "running-variance",
            Text("which variance is averaged"),
            SILENT,
            ("running-variance-denominator", "one-value-per-channel"),
        ),
        Claim(
            "counter",
            Text("the counter of batches, and momentum=None"),
            SILENT,
            ("batch-counter", "momentum-of-none"),
        ),
        Claim(
            "momentum-range",
            Text("the range of momentum"),
            SILENT,
            ("momentum-out-of-range",),
        ),
        Claim("empty-batches", Text("empty batches"), SILENT, ("empty-batch",)),
        Claim(
            "data-format",
            Text("data_format can be “NHWC”"),
            MISLEADING,
            ("channels-last-on-cpu",),
        ),
        Claim(
            "names",
            Text("names in checkpoints"),
            SILENT,
            ("checkpoint-names-of-a-bare-layer", "checkpoint-names-in-a-net"),
        ),
    ),
    TENSORFLOW: (
        Claim(
            "momentum-no-difference",
            Text("momentum: “-”"),
            WRONG,
            ("default-weight-of-the-new-batch", "weight-of-the-new-batch"),
        ),
        Claim(
            "epsilon-same-function",
            Text("epsilon and eps: “same function, other name”"),
            WRONG,
            ("default-epsilon", "zero-epsilon", "integer-epsilon"),
        ),
        Claim(
            "training-not-involved",
            Text("training: “not involved”"),
            WRONG,
            ("training-argument", "training-mode"),
        ),
        Claim(
            "kwargs-not-involved",
            Text("**kwargs: “not involved”"),
            WRONG,
            ("output-with-renorm", "virtual-batches", "adjustment", "frozen-layer"),
        ),
        Claim(
            "same-usage",
            Text("“same function, used the same way”"),
            WRONG,
            ("running-variance-denominator-by-rank", "one-array-in-two-layouts", "frozen-layer"),
            example=True,
        ),
        Claim(
            "example-momentum",
            Text("the examples set momentum=0.1 and momentum=0.9 as if they were equal"),
            MISLEADING,
            ("weight-of-the-new-batch",),
        ),
        Claim(
            "epsilon-clamped",
            Text("its TensorFlow 2.6 example asks for epsilon=1e-5"),
            SILENT,
            ("smallest-epsilon",),
        ),
        Claim(
            "one-value",
            Text("one value per channel, empty batches"),
            SILENT,
            ("one-value-per-channel", "empty-batch"),
        ),
        Claim(
            "initializer-same-function",
            Text("gamma_initializer and gamma_init: “same function, other name”"),
            WRONG,
            ("gamma-from-none", "gamma-from-a-number", "gamma-from-an-array"),
        ),
        Claim(
            "center-and-scale",
            Text("center, scale and affine: each “has no such parameter” on the other side"),
            MISLEADING,
            ("without-affine", "gamma-without-beta"),
        ),
        Claim(
            "channel-axis",
            Text("which axis the default takes as channels"),
            SILENT,
            ("default-channel-axis", "channels-last-on-cpu"),
        ),
        Claim(
            "types",
            Text("input types other than float32"),
            SILENT,
            ("float64-input", "integer-input", "float16-input"),
        ),
        Claim("masks", Text("masks"), SILENT, ("mask",)),
    ),
}
