"""Renorm, ghost batches and masks: no replay has their statistics, so nothing false is said."""

import numpy as np
import pytest

from batchnorm.diagnose import diagnose

keras = pytest.importorskip("keras")
tf_keras = pytest.importorskip("tf_keras")
X = np.random.default_rng(3).normal(0.4, 1.3, (6, 5, 4)).astype(np.float32)
X[4:, 3:] = 0  # what the masks below leave out
MEANS = np.random.default_rng(4).normal(0, 0.3, 4).astype(np.float32)


def model(package=tf_keras, masked=False, **options):
    start = package.layers.Input((5, 4))
    inner = package.layers.Masking()(start) if masked else start
    layer = package.layers.BatchNormalization(momentum=0.9, name="bn", **options)
    made = package.Model(start, layer(inner))
    layer.moving_mean.assign(np.reshape(MEANS, layer.moving_mean.shape))
    return made


OPTIONS = {
    "renorm": {"renorm": True},
    "ghost batches": {"virtual_batch_size": 2},
    "a mask": {"masked": True},
}


@pytest.mark.parametrize("which", OPTIONS)
def test_what_both_models_have_is_not_replayed_and_said(which):
    report = diagnose(model(**OPTIONS[which]), model(**OPTIONS[which]), X)
    assert not report.findings, f"{report}"
    [undecided] = report.undecided
    assert which in undecided.why
    assert undecided.layers == ("bn",)


@pytest.mark.parametrize("which", OPTIONS)
@pytest.mark.parametrize("side", ["source", "port"])
def test_what_one_model_alone_has_is_named(which, side):
    pair = [model(**OPTIONS[which]), model()]
    report = diagnose(*(pair if side == "source" else pair[::-1]), X)
    assert report.causes == ["batch-statistics-differ"], f"{report}"
    assert report.findings[0].evidence[side] == which


def test_what_has_no_effect_is_no_difference():
    whole = {"virtual_batch_size": len(X)}
    full = np.where(X == 0, 0.1, X)
    assert not diagnose(model(), model(**whole), full).findings
    report = diagnose(model(keras), model(keras, masked=True), full)
    assert not report.findings, f"{report}"


def test_masks_of_keras_3_and_a_fault_in_inference():
    port = model(keras, masked=True, epsilon=1e-2)
    report = diagnose(model(keras, masked=True), port, X)
    assert report.causes == ["epsilon-differs"], f"{report}"
    assert [u.layers for u in report.undecided] == [("bn",)]
