"""Faults of public threads that concern a running model, each in the framework that it was in."""

import numpy as np
import pytest

import batchnorm as bn

torch = pytest.importorskip("torch")
nn = torch.nn


class Net(nn.Module):
    def __init__(self, norm=nn.BatchNorm2d, **options):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.bn1 = norm(6, **options)
        self.head = nn.Conv2d(6, 4, 1)
        self.bn2 = norm(4, **options)

    def forward(self, x):
        return self.bn2(self.head(torch.relu(self.bn1(self.conv(x)))))


def batch():
    return np.random.default_rng(0).normal(0.5, 2, (6, 3, 8, 8)).astype(np.float32)


def trained(net):
    for seed in range(3):
        torch.manual_seed(seed)
        net(torch.randn(6, 3, 8, 8))
    return net


def loaded(port, source):
    port.load_state_dict(source.state_dict(), strict=False)
    return port


def causes(port, **options):
    source = trained(Net())
    found = bn.diagnose(source, loaded(port, source), batch(), **options)
    return {finding.cause: finding.layers for finding in found.findings}, found


BOTH = ["bn1", "bn2"]


def test_momentum_copied_from_the_other_convention():
    assert causes(Net(momentum=0.9))[0] == {"momentum-inverted": BOTH}


def test_momentum_dropped():
    source = Net(momentum=0.01)
    found = bn.diagnose(source, loaded(Net(), source), batch())
    assert found.causes == ["momentum-differs"]
    assert found.findings[0].fix == "momentum=0.01"


def test_momentum_none_is_an_average_over_batches():
    found, report = causes(Net(momentum=None))
    assert found == {"momentum-differs": BOTH}
    assert report.findings[0].evidence["port moves by"] == 0.25  # the fourth batch


def test_epsilon_set_after_construction():
    port = Net()
    for norm in (port.bn1, port.bn2):
        norm.eps = 1e-3
    assert causes(port)[0] == {"epsilon-differs": BOTH}


def test_statistics_frozen_by_an_override_of_train():
    class Frozen(Net):
        def train(self, mode=True):
            super().train(mode)
            self.bn1.eval()
            return self

    found, _ = causes(Frozen())
    assert found == {"mode-differs": ["bn1"]}


def test_evaluation_with_batch_statistics():
    class Forced(Net):
        def train(self, mode=True):
            return super().train(True)

    assert causes(Forced())[0] == {"mode-differs": BOTH}


def test_an_update_that_is_discarded():
    class Dropping(nn.BatchNorm2d):
        def forward(self, x):
            mean, var = self.running_mean.clone(), self.running_var.clone()
            return nn.functional.batch_norm(
                x, mean, var, self.weight, self.bias, self.training, self.momentum, self.eps
            )

    assert causes(Net(Dropping))[0] == {"not-updated": BOTH}


def test_two_forward_passes_in_one_step():
    class Twice(Net):
        def forward(self, x):
            if self.training:
                super().forward(x)
            return super().forward(x)

    assert causes(Twice())[0] == {"updated-twice": BOTH}


def test_a_recomputed_checkpoint():
    from torch.utils.checkpoint import checkpoint

    class Recomputed(Net):
        def forward(self, x):
            return checkpoint(super().forward, x, use_reentrant=False)

    assert causes(Recomputed())[0] == {"updated-twice": BOTH}


def test_gamma_and_beta_absent():
    source = trained(Net())
    with torch.no_grad():
        source.bn1.weight.copy_(torch.linspace(0.5, 2, 6))
    found = bn.diagnose(source, loaded(Net(affine=False), source), batch())
    assert set(found.causes) == {"affine-missing"}


def test_the_variance_biased_where_it_should_not_be():
    class Biased(nn.BatchNorm2d):
        def forward(self, x):
            y = super().forward(x)
            if self.training:
                n = x.numel() / x.shape[1]
                var = x.detach().var((0, 2, 3), unbiased=True)
                self.running_var.data -= self.momentum * var / n
            return y

    found, _ = causes(Net(Biased))
    assert found == {"denominator-differs": BOTH}


def test_a_layer_that_computes_in_bfloat16():
    port = Net()
    for norm in (port.bn1, port.bn2):
        whole = norm.forward
        norm.forward = lambda x, whole=whole: whole(x.bfloat16().float()).bfloat16().float()
    found, report = causes(port)
    assert found == {"precision-differs": BOTH}, f"{report}"
    assert "update and gradient" in {u.what for u in report.undecided}


def test_dropout_is_no_difference():
    class Dropped(Net):
        def forward(self, x):
            return super().forward(nn.functional.dropout(x, 0.5, self.training))

    assert causes(Dropped())[0] == {}


@pytest.mark.parametrize("wide", ["source", "port"])
def test_synchronized_statistics_on_one_side_can_not_be_told_by_one_process(wide):
    plain, other = trained(Net()), loaded(Net(), trained(Net()))
    other = nn.SyncBatchNorm.convert_sync_batchnorm(other)
    report = bn.diagnose(*((other, plain) if wide == "source" else (plain, other)), batch())
    assert not report.findings
    (found,) = [u for u in report.undecided if u.what == "synchronization-differs"]
    assert wide in found.why


CENTRED = {
    "none": ({}, None),
    "inverted": ({"momentum": 0.9}, "momentum-inverted"),
    "another": ({"momentum": 0.03}, "momentum-differs"),
    "zero": ({"momentum": 0.0}, "not-updated"),
    "twice": ({"momentum": 0.19}, "updated-twice"),
}


@pytest.mark.parametrize("fault", CENTRED)
@pytest.mark.parametrize("dialect", ["torch", "keras"])
def test_a_batch_whose_means_are_the_running_ones_has_the_variance_tell(dialect, fault):
    def two(**options):
        first = nn.BatchNorm2d(6)
        nn.init.uniform_(first.weight, 1.5, 2.5)
        return nn.Sequential(first, nn.BatchNorm2d(6, **options))

    options, cause = CENTRED[fault]
    source, port = two(), two(**options)
    port[0].load_state_dict(source[0].state_dict())
    if dialect == "keras":
        norms = [
            bn.keras.BatchNormalization(axis=1, momentum=1 - norm.momentum, epsilon=norm.eps)
            for norm in port
        ]
        for norm in norms:
            norm.build((None, 6, 8, 8))
        norms[0].load_state(norms[0].state | {"gamma": source[0].weight.detach().numpy()})
        port = norms
    x = np.random.default_rng(0).normal(0.5, 2, (6, 6, 8, 8)).astype(np.float32)
    report = bn.diagnose(source, port, x)
    assert [(f.cause, f.layers) for f in report.findings] == ([(cause, ["1"])] if cause else [])


def test_a_momentum_that_nothing_tells_is_undecided():
    source, port = nn.BatchNorm1d(2), nn.BatchNorm1d(2, momentum=0.9)
    x = np.float32([[1, -1], [-1, 1]]) * np.float32(0.5**0.5)  # of mean 0 and variance 1
    report = bn.diagnose(source, port, x)
    assert not report.findings, f"{report}"
    [undecided] = report.undecided
    assert undecided.what == "momentum"
    assert "the running ones" in undecided.why
    assert not bn.diagnose(source, nn.BatchNorm1d(2), x).undecided
