"""Torch's live modules: frozen batch norms that hide their eps, and batches that are mappings."""

import collections

import numpy as np
import pytest

import batchnorm as bn

torch = pytest.importorskip("torch")
nn = torch.nn


class Frozen(nn.Module):
    """As in DETR: the eps is nobody's attribute."""

    def __init__(self, channels, eps=1e-5, twist=0.0):
        super().__init__()
        self.hidden = [eps, twist]
        for name in ("weight", "bias", "running_mean", "running_var"):
            self.register_buffer(name, torch.rand(channels) + 0.5)

    def forward(self, x):
        eps, twist = self.hidden
        w, b, m, v = (t.reshape(1, -1, 1, 1) for t in self.buffers())
        scale = w * (v + eps).rsqrt()
        return x * scale + (b - m * scale) + twist * x.pow(2)


class FrozenAct(Frozen):
    """As in timm: drop and act behind."""

    def __init__(self, channels):
        super().__init__(channels)
        self.drop, self.act = nn.Identity(), nn.ReLU()

    def forward(self, x):
        return self.act(self.drop(super().forward(x)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16], ids=str)
@pytest.mark.parametrize("eps", [1e-5, 1e-3, 2.5e-6, 0.0])
@pytest.mark.parametrize("variance", [1.0, 0.01, 1e-5])
def test_a_hidden_eps_is_found(variance, eps, dtype):
    frozen = Frozen(4, eps).to(dtype)
    frozen.running_var.fill_(variance)
    before = {k: v.clone() for k, v in frozen.state_dict().items()}
    found = bn.read(frozen)
    assert found.eps == eps
    assert found.training is False
    assert all(torch.equal(v, before[k]) for k, v in frozen.state_dict().items())


def test_a_nearly_dead_channel_comes_out_right():
    frozen, x = Frozen(4), torch.randn(2, 4, 3, 3)
    frozen.running_var.fill_(2e-5)
    assert np.abs(bn.read(frozen)(x.numpy()) / frozen(x).numpy() - 1).max() <= 1e-3


def test_what_stands_behind_a_frozen_one_is_said():
    frozen, x = FrozenAct(4), torch.randn(2, 4, 3, 3)
    with pytest.warns(UserWarning, match="FrozenAct holds act=ReLU"):
        found = bn.read(nn.Sequential(frozen))["0"]
    assert np.abs(np.maximum(found(x.numpy()), 0) - frozen(x).numpy()).max() <= 1e-5


def test_a_stranger_with_the_same_buffers_is_refused_alone_and_named_in_a_model():
    with pytest.raises(TypeError, match="doesn't compute"):
        bn.read(Frozen(4, twist=0.1))
    with pytest.warns(UserWarning, match="1 of 2 batch norms aren't read: 1: Frozen has"):
        assert list(bn.read(nn.Sequential(nn.BatchNorm2d(4), Frozen(4, twist=0.1)))) == ["0"]


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.head = nn.BatchNorm2d(3), nn.Linear(3, 2)

    def forward(self, pixel_values, labels=None):
        y = self.head(self.norm(pixel_values).mean((2, 3)))
        return y if labels is None else (nn.functional.cross_entropy(y, labels), y)


class Whole(nn.Module):
    """A model whose one argument is a mapping."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, inputs):
        return self.norm(inputs["image"])


class Wrapped(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, *args, **kwargs):
        return self.module(*args, **kwargs)


XS = [torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(i)) * 2 for i in range(3)]
LABELS = torch.tensor([0, 1, 0, 1])
BATCHES = {
    "names": (Classifier, [{"pixel_values": x} for x in XS]),
    "more names": (Classifier, [{"pixel_values": x, "labels": LABELS} for x in XS]),
    "no dict": (Classifier, [collections.UserDict(pixel_values=x) for x in XS]),
    "the mapping itself": (Whole, [{"image": x} for x in XS]),
    "wrapped": (lambda: Wrapped(Classifier()), [{"pixel_values": x} for x in XS]),
    "wrapped, the mapping": (lambda: Wrapped(Whole()), [{"image": x} for x in XS]),
    "compiled": (lambda: torch.compile(Classifier(), backend="eager"), [{"pixel_values": XS[0]}]),
    "tuples": (Classifier, [(x, LABELS) for x in XS]),
}


@pytest.mark.parametrize("kind", BATCHES)
def test_batches_of_each_kind_reach_the_model(kind):
    make, batches = BATCHES[kind]
    model = make().eval()
    bn.recalibrate(model, batches, progress=False)
    (norm,) = (m for m in model.modules() if isinstance(m, nn.BatchNorm2d))
    wanted = torch.cat(XS[: len(batches)]).double().var((0, 2, 3))
    torch.testing.assert_close(norm.running_var.double(), wanted, rtol=1e-5, atol=0)


def test_call_says_how_a_mapping_is_given():
    model = nn.Sequential(nn.BatchNorm2d(3))
    call = lambda m, batch: m(batch["x"])  # noqa: E731
    bn.recalibrate(model, [{"x": x} for x in XS], progress=False, call=call)
    assert float(model[0].running_var.mean()) > 2
